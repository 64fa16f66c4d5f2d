/** What many live event streams cost the server, and whether one that is not read slows the others. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type Berth, startBerthFor, userMessage } from '../berth.ts'
import { type Bench, type Figure } from '../measure.ts'
import { startModel } from '../model.ts'
import { pssOf, settled } from '../processes.ts'
import { latencies } from './delta-latency.ts'
import { Watcher } from '../turns.ts'

/** Streams of a session where nothing happens; of the one session that talks. */
const IDLE = [1_000, 10_000]
const FANOUT = 200
const TALK = `Count.\n::stamp\n::slow 20\n::chunks 100\n::text ${'x'.repeat(400)}`

export const subscribers: Bench = {
  name: 'subscribers',
  about: `${IDLE.join(' and ')} idle streams, ${FANOUT} of a talking session, one of them stalled; floor: one stream`,
  run: async ({ rounds, say }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url)
    const talking = await berth.createSession('Hello.')
    using watcher = await Watcher.open(berth.client, talking)
    await watcher.turn()
    const talk = async (): Promise<number[]> => {
      const latest: number[] = []
      for (let n = 0; n < Math.ceil(rounds / 5); n++) {
        const [turn] = await Promise.all([
          watcher.turn(),
          berth.client.beta.sessions.events.send(talking, { events: [userMessage(TALK)] }),
        ])
        latest.push(...latencies(turn))
      }
      return latest
    }
    const floor = await talk()
    const figures: Figure[] = []
    figures.push(...(await idleStreams(berth, { talk, floor, say })))
    {
      using fanout = await openStreams(berth, talking, FANOUT)
      figures.push({
        what: `subscribers: delta beside ${FANOUT} of the session`,
        unit: 'ms',
        berth: await talk(),
        floor,
      })
      fanout.sockets[0]?.pause()
      figures.push({ what: 'subscribers: the same, one of them stalled', unit: 'ms', berth: await talk(), floor })
    }
    await berth.removeSession(talking)
    return figures
  },
}

interface Idle {
  readonly talk: () => Promise<number[]>
  readonly floor: readonly number[]
  readonly say: (line: string) => void
}

async function idleStreams(berth: Berth, { talk, floor, say }: Idle): Promise<Figure[]> {
  const quiet = await berth.createSession()
  const before = await settled(() => pssOf(berth.server.pid))
  const figures: Figure[] = []
  using opened = new DisposableStack()
  let count = 0
  for (const wanted of IDLE) {
    const began = performance.now()
    opened.use(await openStreams(berth, quiet, wanted - count))
    say(`${wanted - count} streams opened in ${((performance.now() - began) / 1000).toFixed(1)} s`)
    count = wanted
    const each = (((await settled(() => pssOf(berth.server.pid))) - before) / count) * 1024
    figures.push(
      { what: `subscribers: memory each, ${count} idle`, unit: 'KiB', berth: [each], floor: [] },
      { what: `subscribers: delta beside ${count} idle`, unit: 'ms', berth: await talk(), floor },
    )
  }
  return figures
}

interface Streams extends Disposable {
  readonly sockets: readonly Socket[]
}

/** Plain sockets that read and forget: the client's own cost is not what is measured. Resolves when all are attached. */
async function openStreams(berth: Berth, sessionId: string, count: number): Promise<Streams> {
  const { hostname, port } = new URL(berth.url)
  const head = [
    `GET /v1/sessions/${sessionId}/events/stream?event_deltas[]=agent.message HTTP/1.1`,
    `host: ${hostname}:${port}`,
    `x-api-key: ${berth.apiKey}`,
    '\r\n',
  ].join('\r\n')
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(50, count - sockets.length) }, () => connect(Number(port), hostname))
    await Promise.all(
      some.map(async (socket) => {
        socket.write(head)
        const [data] = await once(socket, 'data')
        if (!String(data).startsWith('HTTP/1.1 200')) throw new Error(String(data).slice(0, 200))
        socket.resume()
      }),
    )
    sockets.push(...some)
  }
  return {
    sockets,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy()
    },
  }
}
