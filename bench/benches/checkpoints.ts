/** What the checkpoints of a session that works for a while take together. */
import { takeCheckpoint } from '../../test/harness/berth-api.ts'
import { startBerthFor } from '../berth.ts'
import type { Bench, Figure } from '../measure.ts'
import { startModel } from '../model.ts'
import { ShellSession } from '../shell-session.ts'
import { storedBytes } from '../stored-bytes.ts'
import { fill, tarAndZstd, toArchive, touchFiles } from '../workspaces.ts'

const FILES = 2_000
const FILE_BYTES = 6_000
const TURNS = 50
const CHANGED = 5

/** What a turn of an agent that programs leaves: some lines changed, a new file, a longer log, another build. */
function work(turn: number): string {
  return [
    touchFiles(CHANGED, FILES, turn),
    `mkdir -p added && seq ${turn * 1_000} ${turn * 1_000 + 700} > added/${turn}.txt`,
    ...(turn % 5 === 0 ? [`rm -f added/${turn - 3}.txt`] : []),
    `seq -f "turn ${turn}: step %g done" 400 >> work.log`,
    'cat src/0/*.ts | gzip -9n > build.gz',
  ].join('\n')
}

export const checkpoints: Bench = {
  name: 'checkpoints',
  about: `bytes that ${TURNS} checkpoints of one session take, a little changed between each; floor: tar | zstd`,
  run: async ({ rounds, say, signal }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url)
    using session = await ShellSession.open(berth)
    const before = await storedBytes(berth.dataDir)
    await session.run(fill(FILES, FILE_BYTES))
    const stored: number[] = []
    const tars: number[] = []
    const turns = Math.min(TURNS, Math.max(2, rounds * 4))
    if (turns < TURNS) say(`${turns} checkpoints only`)
    for (let turn = 1; turn <= turns; turn++) {
      signal.throwIfAborted()
      const printed = await session.run(work(turn), tarAndZstd)
      tars.push(toArchive(printed).bytes)
      stored.push((await takeCheckpoint(berth, session.id)).stored_bytes)
    }
    const after = await storedBytes(berth.dataDir)
    await berth.removeSession(session.id)
    return figures({ stored, tars, blobs: after.blobs - before.blobs, tables: after.tables - before.tables })
  },
}

interface Measured {
  readonly stored: readonly number[]
  readonly tars: readonly number[]
  readonly blobs: number
  readonly tables: number
}

function figures({ stored, tars, blobs, tables }: Measured): Figure[] {
  const figure = (what: string, berth: readonly number[], floor: readonly number[]): Figure => ({
    what: `checkpoints: ${what}`,
    unit: 'KiB',
    berth: berth.map((bytes) => bytes / 1024),
    floor: floor.map((bytes) => bytes / 1024),
  })
  const all = `${stored.length}`
  return [
    figure(`all ${all}, floor: the first as tar`, [blobs], tars.slice(0, 1)),
    figure(`all ${all}, floor: the last as tar`, [blobs], tars.slice(-1)),
    figure(`all ${all}, floor: ${all} tars`, [blobs], [tars.reduce((sum, one) => sum + one, 0)]),
    figure('the first', stored.slice(0, 1), tars.slice(0, 1)),
    figure('each further one', stored.slice(1), tars.slice(1)),
    figure(`all ${all}, in the database`, [tables], []),
  ]
}
