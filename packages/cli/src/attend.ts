import type { Anthropic } from '@anthropic-ai/sdk'
import { type Call, confirmCalls, isCall } from './approval.ts'
import type { Context } from './context.ts'
import { exit, type ExitCode } from './exit.ts'
import { follow, type StreamEvent } from './follow.ts'
import type { Interrupts } from './interrupts.ts'
import type { Screen } from './screen.ts'

export interface Attending {
  readonly context: Context
  readonly screen: Screen
  readonly interrupts: Interrupts
  /** Every event, in order. */
  readonly show: (event: StreamEvent) => void
  /** Ask the user at the terminal when a call needs an approval. */
  readonly mayAsk: boolean
  readonly deltas: boolean
}

/** How the attended turn ended, and whether the session is at rest so that it can be archived. */
export interface Outcome {
  readonly exitCode: ExitCode
  readonly atRest: boolean
}

type Idle = Extract<StreamEvent, { type: 'session.status_idle' }>

/** Stays with a session until its turn is over, or until the user leaves. */
export async function attend(client: Anthropic, sessionId: string, attending: Attending): Promise<Outcome> {
  const { screen, interrupts, show } = attending
  const calls = new Map<string, Call>()
  const answered = new Set<string>()
  const onReconnect = (): void => screen.waitFor('reconnecting')
  screen.waitFor('waiting for the sandbox')
  for await (const event of follow(client, sessionId, {
    signal: interrupts.leaving,
    deltas: attending.deltas,
    onReconnect,
  })) {
    if (isCall(event)) calls.set(event.id, event)
    show(event)
    screen.waitFor('working')
    if (event.type === 'session.status_terminated' || event.type === 'session.deleted')
      return { exitCode: exit.failure, atRest: false }
    if (event.type !== 'session.status_idle') continue
    screen.done()
    const outcome = await answer(event, { ...attending, client, sessionId, calls, answered })
    if (outcome !== undefined) return outcome
  }
  screen.done()
  return { exitCode: exit.interrupted, atRest: false }
}

interface Answering extends Attending {
  readonly client: Anthropic
  readonly sessionId: string
  readonly calls: ReadonlyMap<string, Call>
  /** Calls that were confirmed: a server may still name them until it has taken the answers up. */
  readonly answered: Set<string>
}

/** Undefined when the turn goes on. */
async function answer(idle: Idle, attending: Answering): Promise<Outcome | undefined> {
  const { screen, interrupts } = attending
  const reason = idle.stop_reason
  switch (reason.type) {
    case 'end_turn':
      return { exitCode: interrupts.interrupted ? exit.interrupted : exit.ok, atRest: true }
    case 'retries_exhausted':
      screen.notice('the turn failed: retries are exhausted')
      return { exitCode: exit.failure, atRest: true }
    case 'budget_reached':
      screen.notice('the turn stopped: the budget is reached')
      return { exitCode: exit.failure, atRest: true }
    case 'refusal':
      screen.notice('the turn stopped: the model refused')
      return { exitCode: exit.failure, atRest: true }
    case 'requires_action':
      return approve(reason.event_ids, attending)
    default:
      // A newer server may know reasons that this client does not: waiting on would be for ever.
      screen.notice('the turn stopped for a reason that this version does not know')
      return { exitCode: exit.failure, atRest: true }
  }
}

async function approve(ids: readonly string[], attending: Answering): Promise<Outcome | undefined> {
  const { client, sessionId, screen, context, interrupts, calls, answered } = attending
  const open = ids.filter((id) => !answered.has(id))
  if (open.length === 0) return undefined
  const pending = open.map((id) => calls.get(id)).filter((call) => call !== undefined)
  const onlyPrograms = pending.length < open.length || pending.some((call) => call.type === 'agent.custom_tool_use')
  if (onlyPrograms || !attending.mayAsk) {
    const many = open.length === 1 ? 'a tool call' : `${open.length} tool calls`
    const what = onlyPrograms ? 'the result of a custom tool, which only a program can send' : `an approval of ${many}`
    screen.notice(`the agent waits for ${what}, in session ${sessionId}`)
    return { exitCode: exit.waiting, atRest: false }
  }
  const confirmations = await confirmCalls(pending, {
    input: context.stdin,
    output: context.stdout,
    signal: interrupts.leaving,
    onInterrupt: () => interrupts.interrupt(),
  })
  if (confirmations === undefined) {
    if (interrupts.leaving.aborted) return { exitCode: exit.interrupted, atRest: false }
    return interrupts.interrupted ? undefined : { exitCode: exit.waiting, atRest: false }
  }
  await client.beta.sessions.events.send(sessionId, { events: confirmations })
  for (const id of open) answered.add(id)
  return undefined
}
