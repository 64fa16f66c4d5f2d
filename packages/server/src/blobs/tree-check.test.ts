/** The check against a plain model of what a restore would do with the same entries. */
import { isBerthError } from '@berth/protocol'
import type { ArchiveEntry } from '@berth/protocol/archive'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { limits, root, textOf, type Tree, walk } from '../../test/archive-peer.ts'
import { TreeCheck } from './tree-check.ts'

const name = fc.constantFrom('a', 'b', 'a.b', 'ab', 'é', '..', '.', '')
const path = fc.array(name, { maxLength: 3 }).map((parts) => parts.join('/'))
const common = { r: root.name, m: 0o644, t: '0' }
const entry: fc.Arbitrary<ArchiveEntry> = fc.oneof(
  path.map((p): ArchiveEntry => ({ k: 'dir', ...common, p })),
  path.map((p): ArchiveEntry => ({ k: 'dir', ...common, p })),
  path.map((p): ArchiveEntry => ({ k: 'file', ...common, p, s: 0, c: [] })),
  path.map((p): ArchiveEntry => ({ k: 'link', ...common, p, to: 'x' })),
  fc.tuple(path, path).map(([p, of]): ArchiveEntry => ({ k: 'hard', ...common, p, of: { r: root.name, p: of } })),
)

function passes(entries: readonly ArchiveEntry[]): boolean {
  const check = new TreeCheck([root], limits, () => undefined)
  try {
    for (const one of entries) check.add(one)
    return true
  } catch (error) {
    if (isBerthError(error)) return false
    throw error
  }
}

/** Would every entry find its directory, a free name, and its other name's file? */
function canBeRestored(entries: readonly ArchiveEntry[]): boolean {
  const made = new Map<string, ArchiveEntry['k']>()
  return entries.every((one) => {
    const at = textOf(one.p)
    const parent = at.includes('/') ? at.slice(0, at.lastIndexOf('/')) : ''
    const isTop = at === '' && one.k === 'dir' && made.size === 0
    const hasNames = at.split('/').every((part) => !['', '.', '..'].includes(part))
    if (made.has(at) || !(isTop || (hasNames && made.get(parent) === 'dir'))) return false
    if (one.k === 'hard' && made.get(textOf(one.of.p)) !== 'file') return false
    made.set(at, one.k)
    return true
  })
}

test('what passes can be restored, entry by entry', () => {
  let passed = 0
  const top: ArchiveEntry = { k: 'dir', ...common, p: '' }
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 6 }), (entries) => {
      const sorted = entries.toSorted((a, b) => (textOf(a.p) < textOf(b.p) ? -1 : 1))
      for (const sequence of [entries, [top, ...entries], [top, ...sorted]]) {
        if (!passes(sequence)) continue
        passed += 1
        expect(canBeRestored(sequence)).toBe(true)
      }
    }),
    { numRuns: 5_000 },
  )
  expect(passed).toBeGreaterThan(500)
})

test('every tree passes in the order of its walk', () => {
  const part = fc.constantFrom('a', 'b', 'a.b', 'a-b', 'ab', 'é', '日', ' ')
  fc.assert(
    fc.property(fc.array(fc.array(part, { minLength: 1, maxLength: 4 }), { maxLength: 12 }), (paths) => {
      const tree: Record<string, Tree[string]> = {}
      for (const parts of paths) {
        for (let end = 1; end <= parts.length; end++) tree[parts.slice(0, end).join('/')] = { dir: true }
      }
      expect(passes(walk(tree).map((one) => one.entry))).toBe(true)
    }),
    { numRuns: 1_000 },
  )
})
