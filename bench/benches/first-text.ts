/** From the request that makes a session with its first message to the first text at the client, cold. */
import { type Berth, startBerthFor } from '../berth.ts'
import { openBareSession } from '../floors/bare-sdk.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { requestedAt, startModel } from '../model.ts'
import { cpuOf } from '../processes.ts'
import { type Landmarks, landmarks } from '../landmarks.ts'
import { Watcher } from '../turns.ts'

const SCRIPT = '\n::text Here I am, and this is what I have to say.'

interface Bare {
  readonly request: number
  readonly firstText: number
  /** Of the CLI. */
  readonly cpuMs: number
}

interface Cold extends Landmarks {
  readonly accepted: number
  readonly request: number
  readonly firstText: number
}

export const firstText: Bench = {
  name: 'first-text',
  about: 'session create with its first message → first text at the client, cold; floor: bare SDK query()',
  run: async ({ rounds, say }) => {
    await using model = await startModel()
    const { url } = model.ready
    await using berth = await startBerthFor(url)
    await berthOnce(berth, url, 'warm-up')
    await bareOnce(url, 'warm-up')
    const cold: Cold[] = []
    const bare: Bare[] = []
    await interleave(rounds, [
      async () => void cold.push(await berthOnce(berth, url, `berth ${cold.length}`)),
      async () => void bare.push(await bareOnce(url, `bare ${bare.length}`)),
    ])
    say(`sandbox CPU throttled: ${cold.map(({ throttledMs }) => throttledMs.toFixed(0)).join(' ')} ms`)
    return figures(cold, bare)
  },
}

function figures(cold: readonly Cold[], bare: readonly Bare[]): Figure[] {
  const until = (what: string, read: (one: Cold) => number): Figure => ({
    what: `first-text: → ${what}`,
    unit: 'ms',
    berth: cold.map(read),
    floor: [],
  })
  return [
    {
      what: 'first-text',
      unit: 'ms',
      berth: cold.map((one) => one.firstText),
      floor: bare.map((one) => one.firstText),
      aim: { of: 'ratio', atMost: 1.3 },
    },
    until('accepted (HTTP answer)', (one) => one.accepted),
    until('shim started (directory made)', (one) => one.shim),
    until('sandbox launched', (one) => one.launched),
    until('link socket listens', (one) => one.listening),
    until('CLI starts', (one) => one.cli),
    {
      what: 'first-text: → first model request',
      unit: 'ms',
      berth: cold.map((one) => one.request),
      floor: bare.map((one) => one.request),
    },
    {
      what: 'first-text: CLI start → model request',
      unit: 'ms',
      berth: cold.map((one) => one.request - one.cli),
      floor: bare.map((one) => one.request),
    },
    {
      what: 'first-text: model request → text',
      unit: 'ms',
      berth: cold.map((one) => one.firstText - one.request),
      floor: bare.map((one) => one.firstText - one.request),
    },
    {
      what: 'first-text: CPU time of sandbox, floor: of CLI',
      unit: 'ms',
      berth: cold.map((one) => one.cpuMs),
      floor: bare.map((one) => one.cpuMs),
    },
  ]
}

async function berthOnce(berth: Berth, modelUrl: string, name: string): Promise<Cold> {
  const began = performance.now()
  const id = await berth.createSession(name + SCRIPT)
  const accepted = performance.now()
  using watcher = await Watcher.open(berth.client, id)
  const turn = await watcher.turn()
  const wall = performance.timeOrigin + began
  const marks = await landmarks(berth.dataDir, wall)
  const request = (await requestedAt(modelUrl, name)) - wall
  await berth.removeSession(id)
  return { ...marks, accepted: accepted - began, request, firstText: turn.firstText - began }
}

async function bareOnce(modelUrl: string, name: string): Promise<Bare> {
  await using session = await openBareSession(modelUrl)
  const began = performance.now()
  const turn = await session.turn(name + SCRIPT)
  const request = (await requestedAt(modelUrl, name)) - (performance.timeOrigin + began)
  return { request, firstText: turn.firstText - began, cpuMs: await cpuOf(session.pid) }
}
