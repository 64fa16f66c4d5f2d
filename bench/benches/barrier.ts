/** What it costs a tool call that it starts only after the server has committed it: a turn of many tiny calls, one after the other. */
import { z } from 'zod'
import { type Berth, startBerthFor, userMessage } from '../berth.ts'
import { openBareSession } from '../floors/bare-sdk.ts'
import { openCommitFloor } from '../floors/durable-commit.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { callsFor, type ModelCall, startModel } from '../model.ts'
import { eventTimes } from '../session-events.ts'
import { Watcher } from '../turns.ts'

const CALLS = 20
/** The tool says itself when it started. */
const SCRIPT = [
  ...Array.from({ length: CALLS }, () => '::tool Bash {"command":"date +%s%N"}'),
  '::text Those were all.',
].join('\n::next\n')
const EVENT_BYTES = 400

/** Of each call, in ms. */
class Times {
  /** From the model request that is answered with the call to the tool's start. */
  readonly toStart: number[] = []
  /** From the tool's start to the next model request. */
  readonly toNext: number[] = []
  readonly whole: number[] = []
  /** From the model request until the one who decides has heard of the call: Berth's server, the floor's hook. */
  readonly toKnown: number[] = []
  /** From there to the tool's start. */
  readonly known: number[] = []

  /** `knownAt`: by call, in ms since 1970; empty where nobody is asked. */
  add(calls: readonly ModelCall[], knownAt: readonly number[]): void {
    for (const [index, call] of calls.entries()) {
      const next = calls[index + 1]
      if (next === undefined) break
      const started = startOf(next)
      this.toStart.push(started - call.at)
      this.toNext.push(next.at - started)
      this.whole.push(next.at - call.at)
      const known = knownAt[index]
      if (known === undefined) continue
      this.toKnown.push(known - call.at)
      this.known.push(started - known)
    }
  }
}

export const barrier: Bench = {
  name: 'barrier',
  about: `${CALLS} tiny tool calls in a row, each committed before it starts; floor: bare SDK, without a hook and with one`,
  run: async ({ rounds }) => {
    await using model = await startModel()
    const { url } = model.ready
    await using berth = await startBerthFor(url)
    using floor = openCommitFloor()
    const [ours, bare, hook, commit] = [new Times(), new Times(), new Times(), new Times()]
    const commits: number[] = []
    let turns = 0
    const name = (): string => `Turn ${turns++}`
    await interleave(Math.ceil(rounds / 2), [
      async () => berthTurn({ berth, url, name: name() }, ours),
      async () => bareTurn({ url, name: name() }, bare),
      async () => bareTurn({ url, name: name(), inHook: () => undefined }, hook),
      async () => bareTurn({ url, name: name(), inHook: () => void commits.push(floor.commit(EVENT_BYTES)) }, commit),
    ])
    return figures({ ours, bare, hook, commit, commits })
  },
}

interface Measured {
  readonly ours: Times
  readonly bare: Times
  readonly hook: Times
  readonly commit: Times
  readonly commits: readonly number[]
}

function figures({ ours, bare, hook, commit, commits }: Measured): Figure[] {
  const figure = (what: string, berth: readonly number[], floor: readonly number[]): Figure => ({
    what: `barrier: ${what}`,
    unit: 'ms',
    berth,
    floor,
  })
  return [
    figure('a call, model request to model request', ours.whole, bare.whole),
    figure('the same, floor: with a hook', ours.whole, hook.whole),
    figure('the same, floor: with a hook that commits', ours.whole, commit.whole),
    figure('model request → tool starts', ours.toStart, bare.toStart),
    figure('tool starts → next model request', ours.toNext, bare.toNext),
    figure('model request → call is known, floor: to the hook', ours.toKnown, hook.toKnown),
    figure('known → tool starts, floor: with a hook', ours.known, hook.known),
    figure('known → tool starts, floor: hook that commits', ours.known, commit.known),
    figure('one durable commit', commits, []),
  ]
}

interface Turn {
  readonly url: string
  /** First line of the prompt, unlike any other. */
  readonly name: string
}

/** In a session of its own: a conversation that grew from round to round would slow down every call. */
async function berthTurn({ berth, url, name }: Turn & { berth: Berth }, times: Times): Promise<void> {
  const id = await berth.createSession()
  {
    using watcher = await Watcher.open(berth.client, id)
    for (const text of ['Hello.', `${name}\n${SCRIPT}`]) {
      const sent = berth.client.beta.sessions.events.send(id, { events: [userMessage(text)] })
      await Promise.all([watcher.turn(), sent])
    }
  }
  times.add(await callsFor(url, name), await eventTimes(berth.client, id, ['agent.tool_use']))
  await berth.removeSession(id)
}

async function bareTurn({ url, name, inHook }: Turn & { inHook?: () => void }, times: Times): Promise<void> {
  const knownAt: number[] = []
  const beforeTool = (): void => {
    knownAt.push(Date.now())
    inHook?.()
  }
  await using session = await openBareSession(url, inHook === undefined ? undefined : beforeTool)
  await session.turn('Hello.')
  await session.turn(`${name}\n${SCRIPT}`)
  times.add(await callsFor(url, name), knownAt)
}

const toolResult = z.object({
  type: z.literal('tool_result'),
  content: z.union([z.string(), z.tuple([z.object({ text: z.string() })]).transform(([{ text }]) => text)]),
})

/** When the tool started whose result this call brings, in ms since 1970. */
function startOf({ news }: ModelCall): number {
  const result = toolResult.parse(news.find(({ type }) => type === 'tool_result'))
  return Number(result.content.trim()) / 1e6
}
