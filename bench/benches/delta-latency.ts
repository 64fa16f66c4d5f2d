/** How much later than with the bare SDK a streamed piece of text reaches the client. */
import { startBerthFor, userMessage } from '../berth.ts'
import { openBareSession } from '../floors/bare-sdk.ts'
import { type Bench, interleave } from '../measure.ts'
import { startModel } from '../model.ts'
import { type Turn, Watcher } from '../turns.ts'

const PROMPT = `Count.\n::stamp\n::slow 20\n::chunks 100\n::text ${'x'.repeat(400)}`

export const deltaLatency: Bench = {
  name: 'delta-latency',
  about: 'a delta, from the model to the client, one every 20 ms; floor: bare SDK with includePartialMessages',
  run: async ({ rounds }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url)
    await using bare = await openBareSession(model.ready.url)
    const id = await berth.createSession('Hello.')
    using watcher = await Watcher.open(berth.client, id)
    await watcher.turn()
    await bare.turn('Hello.')
    const ours: number[] = []
    const floor: number[] = []
    await interleave(Math.ceil(rounds / 3), [
      async () => {
        const [turn] = await Promise.all([
          watcher.turn(),
          berth.client.beta.sessions.events.send(id, { events: [userMessage(PROMPT)] }),
        ])
        ours.push(...latencies(turn))
      },
      async () => void floor.push(...latencies(await bare.turn(PROMPT))),
    ])
    await berth.removeSession(id)
    return [
      { what: 'delta-latency', unit: 'ms', berth: ours, floor, aim: { of: 'added', atMost: 1 } },
      { what: 'delta-latency', unit: 'ms', berth: ours, floor, aim: { of: 'added', quantile: 0.99, atMost: 5 } },
    ]
  },
}

/** A delta may carry several stamps where some were joined on the way: the oldest counts. */
export function latencies({ deltas }: Turn): number[] {
  return deltas.flatMap(({ at, text }) => {
    const stamp = /^(\d+) /.exec(text)?.[1]
    // performance.now() and the stamp are the same clock with different zeros.
    return stamp === undefined ? [] : [at - Number(BigInt(stamp) - zero) / 1e6]
  })
}

const zero = process.hrtime.bigint() - BigInt(Math.round(performance.now() * 1e6))
