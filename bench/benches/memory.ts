/** What a further session costs in memory, after a turn with a tool, at rest. */
import { startBerthFor } from '../berth.ts'
import { type BareSession, openBareSession } from '../floors/bare-sdk.ts'
import { type Bench, type Figure, slope } from '../measure.ts'
import { startModel } from '../model.ts'
import { gatewayPid } from '../server-process.ts'
import { pssOf, settled, treeOf } from '../processes.ts'
import { Watcher } from '../turns.ts'

const SESSIONS = 6
const PROMPT = 'Look.\n::tool Bash {"command":"ls -la /usr/bin | wc -l"}\n::next\n::text It is {{result}}.'

export const memory: Bench = {
  name: 'memory',
  about: `PSS that each of ${SESSIONS} sessions adds, at rest after a tool turn; floor: CLIs of the bare SDK`,
  run: async ({ say }) => {
    await using model = await startModel()
    const floor = await bareSessions(model.ready.url)
    const { totals, parts } = await berthSessions(model.ready.url)
    say(`bare: ${rounded(floor)}; Berth: ${rounded(totals)} MiB for 1, 2, … sessions`)
    return [
      {
        what: 'memory: a further session',
        unit: 'MiB',
        berth: [slope(totals)],
        floor: [slope(floor)],
        aim: { of: 'ratio', atMost: 1.15 },
      },
      ...parts,
    ]
  },
}

async function bareSessions(modelUrl: string): Promise<number[]> {
  await using opened = new AsyncDisposableStack()
  const sessions: BareSession[] = []
  const totals: number[] = []
  for (let n = 0; n < SESSIONS; n++) {
    const session = opened.use(await openBareSession(modelUrl))
    await session.turn(PROMPT)
    sessions.push(session)
    totals.push(await settled(() => sumPss(sessions.map(({ pid }) => pid))))
  }
  return totals
}

async function berthSessions(modelUrl: string): Promise<{ totals: number[]; parts: Figure[] }> {
  await using berth = await startBerthFor(modelUrl)
  const pids = { server: berth.server.pid, gateway: await gatewayPid(berth.dataDir) }
  const totals: number[] = []
  const byPart = new Map<string, number[]>()
  for (let n = 0; n < SESSIONS; n++) {
    const id = await berth.createSession(PROMPT)
    using watcher = await Watcher.open(berth.client, id)
    await watcher.turn()
    totals.push(await settled(async () => sumPss((await treeOf(pids.server)).map(({ pid }) => pid))))
    for (const [part, value] of await partsOf(pids)) byPart.set(part, [...(byPart.get(part) ?? []), value])
  }
  const parts = [...byPart].map(([part, values]) => ({
    what: `memory: of it ${part}`,
    unit: 'MiB' as const,
    berth: [slope(values)],
    floor: [],
  }))
  return { totals, parts }
}

/** Everything of gateway and sandboxes descends from the server. */
async function partsOf({ server, gateway }: { server: number; gateway: number }): Promise<Map<string, number>> {
  const sums = new Map<string, number>()
  for (const { pid, command } of await treeOf(server)) {
    const part = pid === server ? 'server' : pid === gateway ? 'gateway' : partName(command)
    sums.set(part, (sums.get(part) ?? 0) + (await pssOf(pid)))
  }
  return sums
}

function partName(command: string): string {
  if (command === 'claude') return 'CLI'
  return command === 'node' || command === 'MainThread' ? 'runner' : 'shim and init'
}

async function sumPss(pids: readonly number[]): Promise<number> {
  let sum = 0
  for (const pid of pids) sum += await pssOf(pid)
  return sum
}

function rounded(values: readonly number[]): string {
  return values.map((value) => value.toFixed(0)).join(' ')
}
