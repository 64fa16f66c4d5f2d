/** A checkpoint of a large workspace, of which nothing or a little has changed. */
import type { Checkpoint } from '@berth/protocol/api/checkpoint'
import { takeCheckpoint } from '../../test/harness/berth-api.ts'
import { type Berth, startBerthFor } from '../berth.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { startModel } from '../model.ts'
import { ShellSession } from '../shell-session.ts'
import { fill, tarAndZstd, toArchive, touchFiles } from '../workspaces.ts'

const FILES = 20_000
const FILE_BYTES = 4_000
const CHANGED = 20
/** A turn makes a checkpoint due, whatever it did. */
const NOTHING = 'true'

interface Side {
  readonly ms: number[]
  readonly bytes: number[]
}

const side = (): Side => ({ ms: [], bytes: [] })

export const checkpoint: Bench = {
  name: 'checkpoint',
  about: `POST checkpoints of ${FILES} files, first, unchanged and with ${CHANGED} changed → answered; floor: tar | zstd in the sandbox`,
  run: async ({ rounds, signal }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url)
    using small = await ShellSession.open(berth)
    using large = await ShellSession.open(berth)
    await small.run(fill(10, FILE_BYTES))
    await take(berth, small, side())
    await large.run(fill(FILES, FILE_BYTES))
    const [first, unchanged, changed, empty, tar] = [side(), side(), side(), side(), side()]
    await take(berth, large, first)
    let round = 0
    await interleave(rounds, [
      async () => {
        signal.throwIfAborted()
        await small.run(NOTHING)
        await take(berth, small, empty)
      },
      async () => {
        await large.run(NOTHING)
        await take(berth, large, unchanged)
      },
      async () => {
        await large.run(touchFiles(CHANGED, FILES, ++round))
        await take(berth, large, changed)
      },
      async () => {
        const archive = toArchive(await large.run(tarAndZstd))
        tar.ms.push(archive.ms)
        tar.bytes.push(archive.bytes)
        await takeCheckpoint(berth, large.id)
      },
    ])
    for (const { id } of [small, large]) await berth.removeSession(id)
    return [
      ...figures(`${FILES} files, all new`, first, tar),
      ...figures('10 files, unchanged', empty, undefined),
      ...figures(`${FILES} files, unchanged`, unchanged, tar, { ms: 1_000, bytes: 1_000_000 }),
      ...figures(`${FILES} files, ${CHANGED} changed`, changed, tar),
    ]
  },
}

/** Never answered with an older one: a turn comes before each. */
async function take(berth: Berth, { id }: ShellSession, into: Side): Promise<Checkpoint> {
  const began = performance.now()
  const taken = await takeCheckpoint(berth, id)
  into.ms.push(performance.now() - began)
  into.bytes.push(taken.stored_bytes)
  return taken
}

function figures(what: string, ours: Side, floor: Side | undefined, atMost?: { ms: number; bytes: number }): Figure[] {
  const kib = (bytes: readonly number[]): number[] => bytes.map((one) => one / 1024)
  return [
    {
      what: `checkpoint: ${what}`,
      unit: 'ms',
      berth: ours.ms,
      floor: floor?.ms ?? [],
      ...(atMost === undefined ? {} : { aim: { of: 'value', atMost: atMost.ms } }),
    },
    {
      what: `checkpoint: ${what}, stored`,
      unit: 'KiB',
      berth: kib(ours.bytes),
      floor: kib(floor?.bytes ?? []),
      ...(atMost === undefined ? {} : { aim: { of: 'value', atMost: atMost.bytes / 1024 } }),
    },
  ]
}
