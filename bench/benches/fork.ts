/** A fork of a large session: until it is made, and until it says something. */
import { checkpointsOf, fork as forkAt } from '../../test/harness/berth-api.ts'
import { type Berth, startBerthFor } from '../berth.ts'
import { type Bench, interleave } from '../measure.ts'
import { startModel } from '../model.ts'
import { ShellSession } from '../shell-session.ts'
import { storedBytes } from '../stored-bytes.ts'
import { fillRandom } from '../workspaces.ts'

const FILES = 2_000
const FILE_BYTES = 100_000
const MB = (FILES * FILE_BYTES) / 1e6
const PROMPT = 'Go on.\n::text Here I am again.'

interface Forked {
  readonly madeMs: number
  readonly firstTextMs: number
  /** What the fork alone wrote to blobs. */
  readonly blobs: number
}

export const fork: Bench = {
  name: 'fork',
  about: `fork of a session with ${MB} MB → made, → first text; floor: resume of the original → first text`,
  run: async ({ rounds, signal }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url, { lifecycle: { type: 'hybrid', idle_timeout: 0 } })
    using original = await ShellSession.open(berth)
    await original.run(fillRandom(FILES, FILE_BYTES))
    await berth.untilPutAway()
    const forks: Forked[] = []
    const resumed: number[] = []
    await interleave(Math.ceil(rounds / 3), [
      async () => {
        signal.throwIfAborted()
        forks.push(await forkOnce(berth, original.id))
      },
      async () => {
        resumed.push((await original.say(PROMPT)).firstTextMs)
        await berth.untilPutAway()
      },
    ])
    await berth.client.beta.sessions.delete(original.id)
    return [
      { what: `fork: ${MB} MB → made`, unit: 'ms', berth: forks.map(({ madeMs }) => madeMs), floor: [] },
      {
        what: `fork: ${MB} MB, message → first text`,
        unit: 'ms',
        berth: forks.map(({ firstTextMs }) => firstTextMs),
        floor: resumed,
      },
      {
        what: `fork: ${MB} MB → made and first text`,
        unit: 'ms',
        berth: forks.map(({ madeMs, firstTextMs }) => madeMs + firstTextMs),
        floor: resumed,
      },
      { what: 'fork: made, stored', unit: 'KiB', berth: forks.map(({ blobs }) => blobs / 1024), floor: [] },
    ]
  },
}

/** Nothing of the fork is left when it resolves. */
async function forkOnce(berth: Berth, id: string): Promise<Forked> {
  const [newest] = await checkpointsOf(berth, id)
  if (newest === undefined) throw new Error('there is no checkpoint')
  const before = await storedBytes(berth.dataDir)
  const began = performance.now()
  const { session } = await forkAt(berth, id, { checkpoint_id: newest.id })
  const madeMs = performance.now() - began
  const after = await storedBytes(berth.dataDir)
  using forked = await ShellSession.open(berth, session.id)
  const { firstTextMs } = await forked.say(PROMPT)
  await berth.untilPutAway()
  await berth.client.beta.sessions.delete(forked.id)
  return { madeMs, firstTextMs, blobs: after.blobs - before.blobs }
}
