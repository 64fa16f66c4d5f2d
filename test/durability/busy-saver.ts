/** Saves, removes and collects checkpoints in a directory for as long as it lives, and says on stdout which it was told are durable. */
import { hash } from 'node:crypto'
import type { Tree } from '../../packages/server/test/archive-peer.ts'
import {
  type ArchiveWorld,
  checkpoint,
  newSession,
  openArchiveWorld,
  workspaceId,
} from '../../packages/server/test/archive-world.ts'

const FILES = 60

/** The tree of a name, so that whoever knows the name knows the bytes. */
export function treeOf(name: string): Tree {
  return Object.fromEntries(
    Array.from({ length: FILES }, (_, n) => {
      // Most files are those of every tree.
      const seed = hash('sha256', n < FILES - 3 ? `common ${n}` : `${name} ${n}`)
      return [`f${n}`, { bytes: new TextEncoder().encode(seed.repeat(20 + n * 10)) }]
    }),
  )
}

async function save(world: ArchiveWorld, signal: AbortSignal): Promise<never> {
  const sessionId = await newSession(world.store)
  for (let n = 0; ; n++) {
    const name = `${sessionId} ${n}`
    const base = (await world.store.findNewestCheckpoint({ sessionId }))?.id ?? null
    const { id } = await checkpoint(world, sessionId, treeOf(name), { base: n % 5 === 0 ? null : base, keep: 8 })
    process.stdout.write(`${JSON.stringify({ id, name })}\n`)
    if (n % 5 === 4) await world.archives.collect({ workspaceId, signal })
  }
}

const [, , dir] = process.argv
if (import.meta.main && dir !== undefined) {
  await using world = await openArchiveWorld(dir)
  const { signal } = new AbortController()
  await world.archives.removeLeftovers(signal)
  await Promise.all([save(world, signal), save(world, signal)])
}
