/** From the request that makes a session with its first message to the first text at the client, where a sandbox waits for it. */
import { endSession } from '../../test/harness/end-session.ts'
import { type Berth, startBerthFor } from '../berth.ts'
import { openBareSession } from '../floors/bare-sdk.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { requestedAt, startModel } from '../model.ts'
import { poll } from '../poll.ts'
import { warmSandboxesReady } from '../server-log.ts'
import { Watcher } from '../turns.ts'

const SCRIPT = '\n::text Here I am, and this is what I have to say.'

/** Milliseconds after the request. */
interface Begun {
  readonly accepted: number
  readonly request: number
  readonly firstText: number
}

interface Side {
  readonly berth: Berth
  readonly name: string
  readonly begun: Begun[]
  readonly isWarm: boolean
}

export const warm: Bench = {
  name: 'warm',
  about:
    'session create with its first message → first text at the client, from a warm pool with a CLI, from one without, cold; floor: bare SDK query()',
  run: async ({ rounds, signal }) => {
    await using model = await startModel()
    const { url } = model.ready
    await using opened = new AsyncDisposableStack()
    const open = async (name: string, kind?: 'with_cli' | 'without_cli'): Promise<Side> => {
      const berth = opened.use(await startBerthFor(url, { logLevel: 'info', warm: kind }))
      return { berth, name, begun: [], isWarm: kind !== undefined }
    }
    const sides = [await open('with CLI', 'with_cli'), await open('without CLI', 'without_cli'), await open('cold')]
    const bare: number[] = []
    let turns = 0
    const prompt = (): string => `Session ${turns++}`
    await interleave(rounds + 1, [
      ...sides.map((side) => async () => {
        signal.throwIfAborted()
        await allReady(sides)
        side.begun.push(await begin(side.berth, url, prompt()))
      }),
      async () => {
        await allReady(sides)
        bare.push(await bareOnce(url, prompt()))
      },
    ])
    // The first of each is slower than all that follow, whatever it is.
    bare.shift()
    for (const { begun } of sides) begun.shift()
    return sides.flatMap((side) => figures(side, bare))
  },
}

/** Nothing is being made any more: where a sandbox was claimed, there is another. */
async function allReady(sides: readonly Side[]): Promise<void> {
  for (const { berth, begun, isWarm } of sides) {
    if (!isWarm) continue
    await poll(
      'a warm sandbox is ready',
      async () => (await warmSandboxesReady(berth.dataDir)) > begun.length || undefined,
    )
  }
}

function figures({ name, begun, isWarm }: Side, bare: readonly number[]): Figure[] {
  const firstText = {
    what: `warm: ${name} → first text`,
    unit: 'ms' as const,
    berth: begun.map((one) => one.firstText),
  }
  const until = (what: string, read: (one: Begun) => number): Figure => ({
    what: `warm: ${name} → ${what}`,
    unit: 'ms',
    berth: begun.map(read),
    floor: [],
  })
  const isAim = isWarm && name === 'with CLI'
  return [
    { ...firstText, floor: bare, ...(isAim ? { aim: { of: 'ratio' as const, atMost: 0.35 } } : {}) },
    until('accepted (HTTP answer)', ({ accepted }) => accepted),
    until('first model request', ({ request }) => request),
  ]
}

async function begin(berth: Berth, modelUrl: string, name: string): Promise<Begun> {
  const began = performance.now()
  const id = await berth.createSession(name + SCRIPT)
  const accepted = performance.now() - began
  using watcher = await Watcher.open(berth.client, id)
  const turn = await watcher.turn()
  const request = (await requestedAt(modelUrl, name)) - (performance.timeOrigin + began)
  await endSession(berth.client, id)
  return { accepted, request, firstText: turn.firstText - began }
}

async function bareOnce(modelUrl: string, name: string): Promise<number> {
  await using session = await openBareSession(modelUrl)
  const began = performance.now()
  const turn = await session.turn(name + SCRIPT)
  return turn.firstText - began
}
