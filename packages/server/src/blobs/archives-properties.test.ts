/** Whatever is saved, removed and collected, in whatever order and at the same time: every checkpoint that is kept reads back. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Tree } from '../../test/archive-peer.ts'
import { blobKeys, checkpoint, newSession, openArchiveWorld, restored, workspaceId } from '../../test/archive-world.ts'

const SESSIONS = 3
const CONTENTS = 12

/** Few contents, so that saves share chunks; some are larger than one chunk. */
function content(n: number): Uint8Array {
  return new Uint8Array(n % 4 === 0 ? 1_200_000 : 500 + n).fill(n + 1)
}

const tree = fc
  .dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.nat({ max: CONTENTS }), { maxKeys: 4 })
  .map((files): Tree => Object.fromEntries(Object.entries(files).map(([name, n]) => [name, { bytes: content(n) }])))

const save = fc.record({
  do: fc.constant('save' as const),
  session: fc.nat({ max: SESSIONS - 1 }),
  tree,
  base: fc.constantFrom('none', 'own', 'any'),
  keep: fc.integer({ min: 1, max: 3 }),
})
const act = fc.oneof(
  { weight: 6, arbitrary: save },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.nat({ max: 20 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('collect' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leftovers' as const) }) },
)
const RUNS = 12
type Act = typeof act extends fc.Arbitrary<infer One> ? One : never

test('every checkpoint that is kept reads back, and nothing else is stored in the end', async () => {
  await using world = await openArchiveWorld()
  const { store, archives, blobs } = world
  const signal = AbortSignal.timeout(300_000)
  let [saves, collected] = [0, 0]
  const kept = new Map<string, Tree>()
  const everMade: string[] = []
  const run = async (one: Act, sessions: readonly string[]): Promise<void> => {
    switch (one.do) {
      case 'save': {
        const session = sessions[one.session] ?? ''
        const own = await store.findNewestCheckpoint({ sessionId: session })
        const base = { none: null, own: own?.id ?? null, any: [...kept.keys()][0] ?? null }[one.base] ?? null
        const { id } = await checkpoint(world, session, one.tree, { base, keep: one.keep })
        kept.set(id, one.tree)
        everMade.push(id)
        saves += 1
        break
      }
      case 'remove': {
        const id = [...kept.keys()][one.which]
        if (id === undefined) break
        kept.delete(id)
        await store.removeCheckpoint({ workspaceId, id }).catch(() => undefined)
        break
      }
      case 'collect':
        collected += await archives.collect({ workspaceId, signal })
        break
      case 'leftovers':
        await archives.removeLeftovers(signal)
    }
  }
  const check = async (): Promise<void> => {
    for (const [id, expected] of kept) {
      const isThere = (await store.findCheckpoint({ workspaceId, id })) !== undefined
      if (isThere) expect(await restored(archives, id)).toEqual(expected)
      else kept.delete(id)
    }
  }
  await fc.assert(
    fc.asyncProperty(
      save,
      fc.array(fc.array(act, { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
      async (first, rest) => {
        kept.clear()
        const sessions: string[] = []
        for (let n = 0; n < SESSIONS; n++) sessions.push(await newSession(store))
        for (const together of [[first], ...rest]) {
          await Promise.all(together.map((one) => run(one, sessions)))
          await check()
        }
      },
    ),
    { numRuns: RUNS },
  )
  expect(saves).toBeGreaterThanOrEqual(RUNS)
  for (const id of everMade) await store.removeCheckpoint({ workspaceId, id }).catch(() => undefined)
  collected += await archives.collect({ workspaceId, signal })
  expect(collected).toBeGreaterThan(0)
  expect(await blobKeys(blobs)).toEqual([])
}, 300_000)
