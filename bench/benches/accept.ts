/** How long a client waits until its message is accepted, which means durable. Nothing is run: every session's turn hangs in the model. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Berth, startBerthFor, userMessage } from '../berth.ts'
import { openCommitFloor } from '../floors/durable-commit.ts'
import { type Bench } from '../measure.ts'
import { startModel } from '../model.ts'

const SESSIONS = 6
const SECONDS = 20
const EVENT_BYTES = 400
const RATES = [50, 200]

export const accept: Bench = {
  name: 'accept',
  about: `POST events at ${RATES.join('/s and ')}/s over ${SESSIONS} busy sessions → accepted; floor: one durable commit`,
  run: async ({ say }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url)
    const sessions: string[] = []
    for (let n = 0; n < SESSIONS; n++) sessions.push(await hangingSession(berth))
    const figures = []
    for (const rate of RATES) {
      const { ours, floor, late } = await load(berth, sessions, rate)
      say(`${rate}/s: at most ${late.toFixed(0)} ms behind schedule`)
      const aim = rate === 200 ? { aim: { of: 'value' as const, quantile: 0.99, atMost: 50 } } : {}
      figures.push({ what: `accept: POST at ${rate}/s`, unit: 'ms' as const, berth: ours, floor, ...aim })
    }
    return figures
  },
}

/** Its sandbox is up, its input is inside, the model never answers: what comes now waits in the queue. */
async function hangingSession(berth: Berth): Promise<string> {
  const id = await berth.createSession('Wait.\n::hang')
  for (;;) {
    const { data } = await berth.client.beta.sessions.events.list(id, { types: ['user.message'] })
    if (data.some((event) => event.type === 'user.message' && event.processed_at !== null)) return id
    await sleep(20)
  }
}

interface Load {
  readonly ours: number[]
  readonly floor: number[]
  /** How far the load fell behind its own schedule, in ms. */
  readonly late: number
}

/** Requests leave by the clock, whether or not those before them were answered; every tenth is followed by a commit of the floor. */
async function load(berth: Berth, sessions: readonly string[], rate: number): Promise<Load> {
  using floor = openCommitFloor()
  const ours: number[] = []
  const floors: number[] = []
  const pending: Promise<void>[] = []
  const began = performance.now()
  let late = 0
  for (let n = 0; n < rate * SECONDS; n++) {
    const due = began + (n * 1000) / rate
    await sleep(Math.max(0, due - performance.now()))
    late = Math.max(late, performance.now() - due)
    pending.push(post(berth, sessions[n % sessions.length] ?? '').then((ms) => void ours.push(ms)))
    if (n % 10 === 0) floors.push(floor.commit(EVENT_BYTES))
  }
  await Promise.all(pending)
  return { ours, floor: floors, late }
}

async function post(berth: Berth, id: string): Promise<number> {
  const began = performance.now()
  await berth.client.beta.sessions.events.send(id, { events: [userMessage('x'.repeat(EVENT_BYTES - 150))] })
  return performance.now() - began
}
