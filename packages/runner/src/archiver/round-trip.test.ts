import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { TestArchiver } from '../testing/archiver.ts'
import { archiverForTests } from '../testing/bundle.ts'
import { giveAway, isRoot, TestTree } from '../testing/file-tree.ts'

const program = archiverForTests()
const MIB = 1024 * 1024

const archiverOf = (tree: TestTree): TestArchiver => new TestArchiver(program, isRoot ? tree.uid : undefined)

function sparseFile(path: string, size: number, at: readonly number[]): void {
  const fd = openSync(path, 'w')
  for (const position of at) writeSync(fd, randomBytes(4096), 0, 4096, position)
  ftruncateSync(fd, size)
  closeSync(fd)
}

/** Of every kind, and with every oddity that a file system keeps. */
function nasty(tree: TestTree): void {
  const at = (...parts: string[]): string => tree.path('workspace', ...parts)
  mkdirSync(at('empty'))
  mkdirSync(at('a/b/c/d'), { recursive: true })
  writeFileSync(at('a/b/c/d/deep.txt'), 'deep')
  writeFileSync(at('none'), '')
  for (const size of [1, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
    writeFileSync(at(`size-${size}`), randomBytes(size))
  for (const name of [
    'new\nline',
    'tab\t',
    '\u0001\u007f',
    ' ',
    '-rf',
    '"quoted"',
    'back\\slash',
    'ünïcode 🦊',
    '*',
    '...',
    'x'.repeat(255),
  ])
    writeFileSync(at(name), name)
  const odd = (bytes: readonly number[]): Buffer => Buffer.concat([Buffer.from(`${at()}/`), Buffer.from(bytes)])
  writeFileSync(odd([0xff, 0xfe, 0x20]), 'no text')
  mkdirSync(odd([0xc3, 0x28]))
  writeFileSync(odd([0xc3, 0x28, 0x2f, 0x80]), 'in a directory that is no text')
  symlinkSync(Buffer.from([0x2e, 0xff]), odd([0xfe]))
  for (const [name, to] of [
    ['inside', 'a/b'],
    ['outside', '/etc/passwd'],
    ['dangling', 'nowhere'],
    ['loop', 'loop'],
    ['up', '../..'],
  ] as const)
    symlinkSync(to, at(name))
  for (const mode of [0o000, 0o111, 0o400, 0o644, 0o755, 0o777]) {
    writeFileSync(at(`mode-${mode}`), `${mode}`)
    mkdirSync(at(`dir-${mode}`))
    writeFileSync(at(`dir-${mode}/file`), `${mode}`)
    chmodSync(at(`mode-${mode}`), mode)
  }
  linkSync(at('a/b/c/d/deep.txt'), at('linked'))
  linkSync(at('a/b/c/d/deep.txt'), tree.path('home', 'linked'))
  linkSync(at('dir-0/file'), at('z-linked'))
  linkSync(at('mode-0'), tree.path('home', 'mode-0'))
  sparseFile(at('sparse'), 40 * MIB + 5, [0, 5 * MIB + 8192, 17 * MIB])
  sparseFile(at('all hole'), 8 * MIB, [])
  writeFileSync(at('zeros'), Buffer.alloc(2 * MIB))
  for (const [name, time] of [
    ['old', 1.123456789],
    ['ancient', '-100.25'],
    ['late', 4_000_000_000.987654],
  ] as const) {
    writeFileSync(at(name), name)
    utimesSync(at(name), time, time)
  }
  lutimesSync(at('dangling'), 1_600_000_000.123456, 1_600_000_000.123456)
  for (const mode of [0o000, 0o111, 0o400, 0o644, 0o755, 0o777]) chmodSync(at(`dir-${mode}`), mode)
  utimesSync(at('a'), 1_500_000_000.5, 1_500_000_000.5)
}

it('brings back every kind of file as it was', async () => {
  using tree = new TestTree(['workspace', 'home'])
  nasty(tree)
  for (const { path } of tree.roots) giveAway(path, tree.uid)
  const before = tree.look()
  const archiver = archiverOf(tree)
  const saved = await archiver.save(tree.saving())
  expect(saved.answer.replies.at(-1)).toMatchObject({ type: 'saved', refused: [], refused_count: 0 })
  expect(tree.look()).toEqual(before)

  rmSync(tree.path('workspace', 'a'), { recursive: true })
  writeFileSync(tree.path('workspace', 'size-1'), 'changed')
  mkdirSync(tree.path('workspace', 'more/of/it'), { recursive: true })
  giveAway(tree.path('workspace', 'more'), tree.uid)
  expect(await archiver.restore(tree.restoring(), saved)).toEqual({
    type: 'restored',
    entries: before.length,
    bytes: expect.any(Number),
  })
  expect(tree.look()).toEqual(before)

  // A tree that was restored is the same tree, also for the one who saves.
  const again = await archiver.save(tree.saving(), saved)
  expect(again.segments).toEqual(saved.segments)
  expect(again.answer.chunks).toEqual([])
})
