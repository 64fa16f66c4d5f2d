/** How long after its start the successor of a killed server has every session again. */
import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { cgroupPids, readCgroups } from '@berth/sandbox/oci/cgroup'
import { type Berth, startBerthFor, userMessage } from '../berth.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { startModel } from '../model.ts'
import { poll } from '../poll.ts'
import { treeOf } from '../processes.ts'
import { runnersConnected } from '../server-log.ts'
import { eventTimes } from '../session-events.ts'
import { Watcher } from '../turns.ts'

/** Sessions at rest, whose CLIs have ended and whose runners live. */
const RESTING = [50, 200]
/** Sessions in a turn, with their CLIs. */
const WORKING = 16
/** Sessions that are made at the same time. */
const TOGETHER = 4
const STEPS = 400
/** Longer than one step takes. */
const REST_MS = 1_000
const WORK = `Work.\n${Array.from({ length: STEPS }, () => '::tool Bash {"command":"sleep 0.2"}').join('\n::next\n')}`

/** Milliseconds after the server's process was started. */
interface Start {
  /** It answers requests. */
  readonly ready: number
  /** Of each sandbox, in order: its runner was welcomed. */
  readonly connected: readonly number[]
}

export const adoption: Bench = {
  name: 'adoption',
  about: `a killed server's successor → every session adopted, ${RESTING.join(' and ')} at rest, ${WORKING} in a turn; floor: start without sessions`,
  run: async ({ rounds, say }) => {
    const restarts = Math.ceil(rounds / 3)
    await using model = await startModel()
    await using empty = await startBerthFor(model.ready.url)
    const figures: Figure[] = []
    {
      await using berth = await startBerthFor(model.ready.url, { logLevel: 'debug' })
      let count = 0
      for (const size of RESTING) {
        const began = performance.now()
        await addResting(berth, size - count)
        say(`${size - count} sessions made in ${((performance.now() - began) / 1000).toFixed(0)} s`)
        count = size
        const { starts, floor } = await restartBoth(berth, empty, { count, restarts })
        figures.push(...startFigures(`${count} at rest`, starts, floor))
      }
    }
    await using berth = await startBerthFor(model.ready.url, { logLevel: 'debug' })
    const ids = await addWorking(berth)
    const atWork: number[] = []
    const { starts, floor } = await restartBoth(berth, empty, {
      count: WORKING,
      restarts,
      after: async (since) => void atWork.push((await allAtWork(berth, ids, since)) - since),
    })
    figures.push(...startFigures(`${WORKING} in a turn`, starts, floor))
    figures.push({ what: `adoption: ${WORKING} in a turn → each has a new event`, unit: 'ms', berth: atWork, floor })
    return figures
  },
}

function startFigures(which: string, starts: readonly Start[], floor: readonly number[]): Figure[] {
  const figure = (what: string, read: (start: Start) => number): Figure => ({
    what: `adoption: ${which} → ${what}`,
    unit: 'ms',
    berth: starts.map(read),
    floor,
  })
  return [
    figure('all adopted', ({ connected }) => connected.at(-1) ?? Number.NaN),
    figure('half of them', ({ connected }) => connected[Math.floor((connected.length - 1) / 2)] ?? Number.NaN),
    figure('requests answered', ({ ready }) => ready),
  ]
}

interface Restarts {
  /** Of sandboxes. */
  readonly count: number
  readonly restarts: number
  /** Told when the server was started, in ms since 1970. */
  readonly after?: (since: number) => Promise<void>
}

/**
 * The server with sessions and, for the floor, the one without take turns. Either starts when both have been dead for a while:
 * tools that ran have ended, and all that the sandboxes do is to dial.
 */
async function restartBoth(
  berth: Berth,
  empty: Berth,
  { count, restarts, after }: Restarts,
): Promise<{ starts: Start[]; floor: number[] }> {
  const starts: Start[] = []
  const floor: number[] = []
  const atRest = async (): Promise<void> => {
    await Promise.all([berth.server.kill(), empty.server.kill()])
    await sleep(REST_MS)
  }
  await interleave(restarts, [
    async () => {
      await atRest()
      const { since, ready } = await start(berth)
      const connected = await poll('every runner is connected', async () => {
        const found = await runnersConnected(berth.dataDir, since)
        return found.size >= count ? found : undefined
      })
      starts.push({ ready, connected: [...connected.values()].map((at) => at - since).toSorted((a, b) => a - b) })
      await after?.(since)
    },
    async () => {
      await atRest()
      floor.push((await start(empty)).ready)
    },
  ])
  await atRest()
  await start(berth)
  return { starts, floor }
}

async function start({ server }: Berth): Promise<{ since: number; ready: number }> {
  const since = Date.now()
  await server.startAgain()
  return { since, ready: Date.now() - since }
}

async function addResting(berth: Berth, count: number): Promise<void> {
  for (let made = 0; made < count; made += TOGETHER) {
    const before = new Set(await sandboxIds(berth))
    const some = Array.from({ length: Math.min(TOGETHER, count - made) }, async () => {
      const id = await berth.createSession()
      using watcher = await Watcher.open(berth.client, id)
      const message = berth.client.beta.sessions.events.send(id, { events: [userMessage('Hello.')] })
      await Promise.all([watcher.turn(), message])
    })
    await Promise.all(some)
    for (const id of await sandboxIds(berth)) if (!before.has(id)) await endCli(id)
  }
}

async function sandboxIds({ stateDir }: Berth): Promise<string[]> {
  return (await readdir(stateDir)).filter((name) => name.startsWith('sbx_'))
}

/** Between two turns this shows nowhere: the next message would start another. */
async function endCli(sandboxId: string): Promise<void> {
  for (const pid of await cgroupPids(await readCgroups(), sandboxId)) {
    const [process_] = await treeOf(pid)
    if (process_?.command === 'claude') process.kill(pid, 'SIGKILL')
  }
}

async function addWorking(berth: Berth): Promise<string[]> {
  const ids: string[] = []
  for (let n = 0; n < WORKING; n++) ids.push(await berth.createSession(WORK))
  await allAtWork(berth, ids, 0)
  return ids
}

/** When the last of them had its first tool event since then, in ms since 1970. */
async function allAtWork(berth: Berth, ids: readonly string[], since: number): Promise<number> {
  let last = 0
  for (const id of ids) {
    const first = await poll(`${id} has a tool event`, async () => {
      const times = await eventTimes(berth.client, id, ['agent.tool_use', 'agent.tool_result'])
      return times.find((at) => at > since)
    })
    last = Math.max(last, first)
  }
  return last
}
