import { randomBytes } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { Tree } from '../../packages/server/test/archive-peer.ts'
import {
  blobKeys,
  checkpoint,
  newSession,
  openArchiveWorld,
  restored,
  workspaceId,
} from '../../packages/server/test/archive-world.ts'
import { treeOf } from './busy-saver.ts'
import { fill } from './fill.ts'
import { isRoot, LoopMount } from './loop-mount.ts'

const CYCLES = 10
/** Checkpoints after which the power fails, in the middle of the next one. */
const ENOUGH = 15

const told = z.object({ id: z.string(), name: z.string() })
type Told = z.infer<typeof told>

if (!isRoot) process.stdout.write('left out: checkpoints on failing disks, which mounts a file system and needs root\n')

test.skipIf(!isRoot)(
  'after the power failed every checkpoint that there is reads back, and those that were announced are there',
  async () => {
    using disk = new LoopMount(96 * 1024 * 1024)
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const unsynced = join(disk.path, `unsynced-${cycle}`)
      const announced = await saveUntilCut(disk, ENOUGH + cycle, unsynced)
      // Else the cut was none.
      expect(existsSync(unsynced) && readFileSync(unsynced).equals(filler)).toBe(false)
      await using world = await openArchiveWorld(disk.path)
      const signal = AbortSignal.timeout(30_000)
      await world.archives.removeLeftovers(signal)
      // The newest are kept by rule; one more may be there whose announcement was cut.
      for (const { id, name } of announced.slice(-7)) expect(await restored(world.archives, id)).toEqual(treeOf(name))
      const packs = await world.store.listPacks({ workspaceId })
      expect(await blobKeys(world.blobs)).toEqual(packs.map(({ id }) => `packs/${workspaceId}/${id}`).toSorted())
      // Marks from every checkpoint there is: one that is not whole would fail it.
      await world.archives.collect({ workspaceId, signal })
    }
  },
  180_000,
)

const filler = Buffer.alloc(64 * 1024, 'x')

/** Answers what was announced before the cut. */
async function saveUntilCut(disk: LoopMount, enough: number, unsynced: string): Promise<Told[]> {
  const saver = spawn(process.execPath, [join(import.meta.dirname, 'busy-saver.ts'), disk.path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const announced: Told[] = []
  let before = 0
  let err = ''
  saver.stderr.on('data', (data: Buffer) => (err += data.toString()))
  const ended = once(saver, 'close')
  const isEnough = Promise.withResolvers<void>()
  createInterface({ input: saver.stdout }).on('line', (line) => {
    announced.push(told.parse(JSON.parse(line)))
    if (announced.length === enough) isEnough.resolve()
  })
  void ended.then(() => isEnough.reject(new Error(`the saver ended: ${err}`)))
  try {
    await isEnough.promise
    writeFileSync(unsynced, filler)
    // What is said during the cut counts for nothing: no real power failure lets anybody say it.
    before = announced.length
    disk.cutPower()
  } finally {
    saver.kill('SIGKILL')
    await ended
  }
  disk.restore()
  return announced.slice(0, before)
}

test.skipIf(!isRoot)('on a full disk a save fails whole, and goes on when there is room', async () => {
  using disk = new LoopMount(32 * 1024 * 1024)
  await using world = await openArchiveWorld(disk.path)
  const session = await newSession(world.store)
  const small: Tree = { a: { bytes: new Uint8Array(randomBytes(100_000)) } }
  const large: Tree = { ...small, b: { bytes: new Uint8Array(randomBytes(15_000_000)) } }
  const first = await checkpoint(world, session, small)
  const blobs = await blobKeys(world.blobs)
  const full = { code: 'unavailable', message: expect.stringContaining('the disk of the server is full') }
  let ballast = ''
  for (const leave of [10 * 1024 * 1024, 1024 * 1024, 0]) {
    ballast = fill(disk.path, leave)
    await expect(checkpoint(world, session, large, { base: first.id })).rejects.toMatchObject(full)
    expect(await blobKeys(world.blobs)).toEqual(blobs)
    expect(await world.store.listUncommittedPacks({ saveId: null })).toEqual([])
  }
  expect(await restored(world.archives, first.id)).toEqual(small)
  rmSync(ballast)
  const second = await checkpoint(world, session, large, { base: first.id })
  expect(await restored(world.archives, second.id)).toEqual(large)
})
