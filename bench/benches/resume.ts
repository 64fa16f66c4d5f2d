/** From a message to a session whose sandbox was put away to its first text, beside a session that begins. */
import { type Berth, startBerthFor } from '../berth.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { requestedAt, startModel } from '../model.ts'
import { filesBroughtBackAt, runnersConnected } from '../server-log.ts'
import { ShellSession } from '../shell-session.ts'
import { Watcher } from '../turns.ts'
import { fill, unpack } from '../workspaces.ts'

const SCRIPT = '\n::text Here I am, and this is what I have to say.'
const FILE_BYTES = 4_000
const SIZES = [10, 20_000]

/** Milliseconds after the request. */
interface Resumed {
  /** The sandbox's runner was welcomed. */
  readonly connected: number
  /** The sandbox has the session's files. */
  readonly restored: number
  readonly request: number
  readonly firstText: number
}

interface Saved {
  readonly files: number
  readonly session: ShellSession
  readonly resumed: Resumed[]
  /** The floor of bringing the files back. */
  readonly unpacked: number[]
}

export const resume: Bench = {
  name: 'resume',
  about: `message to a session that was put away → first text, ${SIZES.join(' and ')} files; floor: session create → first text`,
  run: async ({ rounds, signal }) => {
    await using model = await startModel()
    const modelUrl = model.ready.url
    const lifecycle = { type: 'hybrid', idle_timeout: 0 } as const
    await using berth = await startBerthFor(modelUrl, { logLevel: 'debug', lifecycle })
    using sessions = new DisposableStack()
    const saved: Saved[] = []
    for (const files of SIZES) {
      const session = sessions.use(await ShellSession.open(berth))
      await session.run(fill(files, FILE_BYTES))
      await berth.untilPutAway()
      saved.push({ files, session, resumed: [], unpacked: [] })
    }
    await coldOnce(berth, 'warm-up')
    const cold: number[] = []
    let turns = 0
    await interleave(Math.ceil(rounds / 2), [
      async () => void cold.push(await coldOnce(berth, `Cold ${cold.length}`)),
      ...saved.map(({ session, resumed, unpacked }) => async () => {
        signal.throwIfAborted()
        resumed.push(await resumeOnce({ berth, modelUrl }, session, `Turn ${turns++}`))
        unpacked.push(Number(await session.run(unpack)) / 1000)
        await berth.untilPutAway()
      }),
    ])
    return saved.flatMap((one) => figures(one, cold))
  },
}

function figures({ files, resumed, unpacked }: Saved, cold: readonly number[]): Figure[] {
  const until = (what: string, read: (one: Resumed) => number): Figure => ({
    what: `resume: ${files} files → ${what}`,
    unit: 'ms',
    berth: resumed.map(read),
    floor: [],
  })
  return [
    {
      what: `resume: ${files} files → first text`,
      unit: 'ms',
      berth: resumed.map(({ firstText }) => firstText),
      floor: cold,
      aim: { of: 'ratio', atMost: 1.5 },
    },
    until('runner connected', ({ connected }) => connected),
    {
      what: `resume: ${files} files, runner connected → files brought back, floor: zstd | tar`,
      unit: 'ms',
      berth: resumed.map(({ connected, restored }) => restored - connected),
      floor: unpacked,
    },
    until('model request', ({ request }) => request),
  ]
}

async function coldOnce(berth: Berth, name: string): Promise<number> {
  const began = performance.now()
  const id = await berth.createSession(name + SCRIPT)
  using watcher = await Watcher.open(berth.client, id)
  const { firstText } = await watcher.turn()
  await berth.removeSession(id)
  await berth.untilPutAway()
  return firstText - began
}

/** Resolves when the session is put away again. */
async function resumeOnce(
  { berth, modelUrl }: { berth: Berth; modelUrl: string },
  session: ShellSession,
  name: string,
): Promise<Resumed> {
  const began = Date.now()
  const { firstTextMs } = await session.say(name + SCRIPT)
  const [connected = Number.NaN] = (await runnersConnected(berth.dataDir, began)).values()
  const restored = await filesBroughtBackAt(berth.dataDir, { sessionId: session.id, since: began })
  const request = await requestedAt(modelUrl, name)
  await berth.untilPutAway()
  return { connected: connected - began, restored: restored - began, request: request - began, firstText: firstTextMs }
}
