/** One session's client: sends turn after turn, answers what it is asked, and never gives up on what it has begun. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventSendParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { EventCollector } from '../harness/event-collector.ts'
import { message } from '../harness/message.ts'
import { asListed } from '../harness/reading.ts'
import type { TestBerth } from '../harness/test-berth.ts'
import { type SeenEvent, toSeen } from './evidence.ts'
import { makeFork } from './forker.ts'
import { effectPattern, isDenied, type Plan, type Turn, turnOf } from './plan.ts'
import { type Manner, post } from './poster.ts'
import type { SessionRecord } from './recorder.ts'

const LOOK_MS = 150
const FOLLOW_MS = 5

export interface Workload {
  readonly berth: TestBerth
  readonly plan: Plan
  readonly session: number
  readonly record: SessionRecord
  /** No turn is begun any more when it says so. */
  isOver(): boolean
  /** The stream has shown something. */
  onEvent(type: string): void
  readonly signal: AbortSignal
}

/** Resolves when the last turn is over. */
export async function talk(workload: Workload): Promise<void> {
  const client = new Talker(workload)
  for (let n = 1; goesOn(workload);) {
    const turn = turnOf(workload.plan, workload.session, n++)
    await client.say(turn)
    if (turn.isFollowedAtOnce) await client.say(turnOf(workload.plan, workload.session, n++))
    if (turn.interruptAfterMs !== null) await client.interrupt(turn.prompt, turn.interruptAfterMs)
    await client.untilIdle()
    if (turn.isForked) await client.fork()
  }
}

/** A session that has done nothing yet goes on in any case: what nothing happened to shows nothing. */
function goesOn(workload: Workload): boolean {
  return !workload.isOver() || workload.record.lists.at(-1)?.some(isResult) !== true
}

class Talker {
  readonly #workload: Workload
  readonly #answered = new Set<string>()

  constructor(workload: Workload) {
    this.#workload = workload
  }

  /** A message is refused while a call waits for its answer: then that comes first. */
  async say({ prompt, script, ...manner }: Turn): Promise<void> {
    for (let tries = 1; ; tries++) {
      const key = `${prompt}-${tries}`.replace(' ', '-')
      if (await this.#post({ key, kind: 'message', about: prompt }, message(script), manner)) return
      await this.untilIdle()
    }
  }

  async interrupt(prompt: string, afterMs: number): Promise<void> {
    await sleep(afterMs, undefined, { signal: this.#workload.signal })
    const key = `interrupt-${prompt}`.replace(' ', '-')
    const manner = { abandonAfterMs: null, isRepeated: afterMs % 3 === 0, isMarked: false }
    await this.#post({ key, kind: 'interrupt', about: prompt }, { type: 'user.interrupt' }, manner)
  }

  /** At the end of its last turn. */
  async fork(): Promise<void> {
    const { record } = this.#workload
    const idle = record.lists.at(-1)?.findLast(({ type }) => type === 'session.status_idle')
    if (idle !== undefined) record.forks.push(await makeFork(this.#workload, idle))
  }

  /** Answers every question until nothing is asked and nothing runs. */
  async untilIdle(): Promise<void> {
    for (;;) {
      const listed = await this.#look()
      const idle = listed?.findLast(({ type }) => type.startsWith('session.status_'))
      if (listed !== undefined && idle?.stop_reason?.type === 'requires_action') await this.#answer(listed, idle)
      else if (listed !== undefined && isOver(listed, idle)) return
      await sleep(LOOK_MS, undefined, { signal: this.#workload.signal })
    }
  }

  /** undefined: the server is away. */
  async #look(): Promise<SeenEvent[] | undefined> {
    const { record, berth } = this.#workload
    return record.list(berth).catch(() => undefined)
  }

  async #answer(listed: readonly SeenEvent[], idle: SeenEvent): Promise<void> {
    for (const id of idle.stop_reason?.event_ids ?? []) {
      if (this.#answered.has(id)) continue
      this.#answered.add(id)
      const call = listed.find((event) => event.id === id)
      const isCustom = call?.type === 'agent.custom_tool_use'
      const manner = {
        abandonAfterMs: this.#answered.size % 5 === 0 ? 5 : null,
        isRepeated: this.#answered.size % 3 === 0,
        isMarked: false,
      }
      const kind = isCustom ? 'custom_result' : 'confirmation'
      // Refused when the call was closed meanwhile: the agent asks again, by another id.
      await this.#post(
        { key: `answer-${id}`, kind, about: id },
        isCustom ? result(id) : this.#confirm(id, call),
        manner,
      )
    }
  }

  #confirm(tool_use_id: string, call: SeenEvent | undefined): EventSendParams['events'][number] {
    const [effect = ''] = JSON.stringify(call?.input ?? '').match(effectPattern) ?? []
    if (!isDenied(this.#workload.plan.seed, effect))
      return { type: 'user.tool_confirmation', tool_use_id, result: 'allow' }
    return { type: 'user.tool_confirmation', tool_use_id, result: 'deny', deny_message: 'Not this one.' }
  }

  #post(
    what: Parameters<typeof post>[2]['post'],
    event: EventSendParams['events'][number],
    manner: Manner,
  ): Promise<boolean> {
    const { berth, record, signal } = this.#workload
    return post(berth, record, { post: what, event, manner, signal })
  }
}

/** Something was carried out. */
export function isResult({ type }: SeenEvent): boolean {
  return type === 'agent.tool_result' || type === 'user.custom_tool_result'
}

/** The last turn is over and no message waits for another. */
function isOver(listed: readonly SeenEvent[], idle: SeenEvent | undefined): boolean {
  if (idle?.type !== 'session.status_idle') return false
  return listed.every(({ type, processed_at }) => type !== 'user.message' || typeof processed_at === 'string')
}

function result(custom_tool_use_id: string): EventSendParams['events'][number] {
  const content = [{ type: 'text' as const, text: `answer to ${custom_tool_use_id}` }]
  return { type: 'user.custom_tool_result', custom_tool_use_id, content }
}

/** Keeps a stream open, over and over, and keeps what each connection showed. Resolves when the signal aborts. */
export async function follow(workload: Workload, signal: AbortSignal): Promise<void> {
  const { berth, record } = workload
  while (!signal.aborted) {
    try {
      await using events = await EventCollector.open(berth.client, record.id)
      let seen = 0
      while (!signal.aborted && events.end === undefined) {
        await sleep(FOLLOW_MS, undefined, { signal }).catch(() => undefined)
        for (; seen < events.events.length; seen++) workload.onEvent(events.events[seen]?.type ?? '')
      }
      record.streams.push(toSeen(asListed(events.events)))
    } catch {
      // The server is away.
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
    }
  }
}
