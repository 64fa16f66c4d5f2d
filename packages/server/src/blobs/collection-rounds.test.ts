import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import {
  type ArchiveWorld,
  blobKeys,
  checkpoint,
  openWorldWith,
  restored,
  workspaceId,
} from '../../test/archive-world.ts'
import { CollectionRounds } from './collection-rounds.ts'

const silent = pino({ level: 'silent' })
const one = () => ({ a: { bytes: new Uint8Array(randomBytes(5_000)) } })

function rounds({ archives, store }: ArchiveWorld): CollectionRounds {
  return new CollectionRounds({ archives, index: store, logger: silent, roundMs: 5 })
}

test('at start everything that is nobody’s goes', async () => {
  await using world = await openWorldWith(one())
  const tree = one()
  const { id } = await checkpoint(world, world.session, tree, { keep: 1 })
  await world.blobs.put(`packs/${workspaceId}/pack_unknown`, [Buffer.from('x')])
  expect(await blobKeys(world.blobs)).toHaveLength(3)
  await using _rounds = rounds(world)
  await expect.poll(() => blobKeys(world.blobs)).toHaveLength(1)
  expect(await restored(world.archives, id)).toEqual(tree)
})

test('what was removed goes with a round', async () => {
  await using world = await openWorldWith(one())
  await using running = rounds(world)
  const tree = one()
  const newest = await checkpoint(world, world.session, tree)
  await world.store.removeCheckpoint({ workspaceId, id: world.id })
  running.note(workspaceId)
  await expect.poll(() => blobKeys(world.blobs)).toHaveLength(1)
  expect(await restored(world.archives, newest.id)).toEqual(tree)
})
