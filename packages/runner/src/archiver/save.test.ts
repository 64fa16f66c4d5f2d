import { archiveEntry } from '@berth/protocol/archive'
import type { ArchiveEntry } from '@berth/protocol/archive'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { TestArchiver } from '../testing/archiver.ts'
import type { Saved } from '../testing/archiver.ts'
import { archiverForTests } from '../testing/bundle.ts'
import { giveAway, isRoot, TestTree, untilSteady } from '../testing/file-tree.ts'

const program = archiverForTests()
const archiverOf = (tree: TestTree): TestArchiver => new TestArchiver(program, isRoot ? tree.uid : undefined)

const entriesOf = ({ segments }: Saved): ArchiveEntry[] =>
  segments.flatMap((text) => text.trimEnd().split('\n')).map((line) => archiveEntry.parse(JSON.parse(line)))

/** A number of directories with a hundred files each. */
function fill(tree: TestTree, directories: number): void {
  for (let d = 0; d < directories; d++) {
    mkdirSync(tree.path('workspace', `d${d}`))
    for (let f = 0; f < 100; f++) writeFileSync(tree.path('workspace', `d${d}/file-${f}`), `${d} ${f}`.repeat(100))
  }
  giveAway(tree.path('workspace'), tree.uid)
}

/** What was sent for a save beside the names of what is known. */
const sent = ({ answer }: Saved): { chunks: number; segments: number } => ({
  chunks: answer.chunks.length,
  segments: answer.replies.filter(({ type }) => type === 'segment').length,
})

describe('a save', () => {
  it('sends of an unchanged tree nothing, and of a changed one what has changed', async () => {
    using tree = new TestTree()
    fill(tree, 20)
    await untilSteady()
    const archiver = archiverOf(tree)
    const first = await archiver.save(tree.saving())
    expect(sent(first).chunks).toBe(2_000)
    const second = await archiver.save(tree.saving(), first)
    expect(sent(second)).toEqual({ chunks: 0, segments: 0 })
    // Also when nothing is remembered.
    archiver.cache = Buffer.alloc(0)
    expect(sent(await archiver.save(tree.saving(), first))).toEqual({ chunks: 0, segments: 0 })
    appendFileSync(tree.path('workspace', 'd7/file-7'), 'more')
    expect(sent(await archiver.save(tree.saving(), first))).toEqual({ chunks: 1, segments: 1 })
    // Content and cache of before, for a server that has lost them.
    const anew = await archiver.save(tree.saving())
    expect(sent(anew)).toEqual({ chunks: 2_000, segments: first.segments.length })
  })

  it('sees a change that leaves size and modification time as they were, however soon it comes', async () => {
    using tree = new TestTree()
    const path = tree.path('workspace', 'file')
    const archiver = archiverOf(tree)
    let last: Saved | undefined
    for (let round = 0; round < 10; round++) {
      writeFileSync(path, `${round}`)
      utimesSync(path, 1_000, 1_000)
      last = await archiver.save(tree.saving(), last)
      const [, entry] = entriesOf(last)
      const content = entry?.k === 'file' && typeof entry.c[0] === 'string' ? last.store.get(entry.c[0]) : undefined
      expect(content?.toString()).toBe(`${round}`)
    }
  })

  it('goes in the order of bytes, directories before what is in them', async () => {
    using tree = new TestTree(['workspace', 'home'])
    for (const name of ['b', 'a', 'a-', 'a.b', 'ä', 'Z'])
      mkdirSync(tree.path('workspace', name, 'in'), { recursive: true })
    writeFileSync(tree.path('home', 'x'), '')
    const saved = await archiverOf(tree).save(tree.saving())
    const names = ['', 'Z', 'Z/in', 'a', 'a/in', 'a-', 'a-/in', 'a.b', 'a.b/in', 'b', 'b/in', 'ä', 'ä/in']
    expect(entriesOf(saved).map(({ r, p }) => `${r}:${typeof p === 'string' ? p : p.b64}`)).toEqual([
      ...names.map((name) => `workspace:${name}`),
      'home:',
      'home:x',
    ])
  })

  it('leaves out and names what cannot be kept', async () => {
    using tree = new TestTree(['workspace'], ['not/this'])
    const at = (name: string): string => tree.path('workspace', name)
    execFileSync('mkfifo', [at('pipe')])
    if (isRoot) execFileSync('mknod', [at('device'), 'c', '1', '3'])
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(at('socket'), resolve))
    writeFileSync(at('setuid'), '')
    mkdirSync(at('not/this/below'), { recursive: true })
    writeFileSync(at('not/that'), '')
    giveAway(at(''), tree.uid)
    chmodSync(at('setuid'), 0o4755)
    mkdirSync(at('foreign'), { mode: 0o700 })
    writeFileSync(at('secret'), 'secret', { mode: 0o600 })
    mkdirSync(at('mounted'))
    if (isRoot) execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', at('mounted')])
    try {
      const saved = await archiverOf(tree).save(tree.saving())
      expect(entriesOf(saved).map(({ p, m }) => [p, m.toString(8)])).toEqual([
        ['', expect.any(String)],
        ['not', '755'],
        ['not/that', '644'],
        ['setuid', '755'],
      ])
      expect(saved.answer.replies.at(-1)).toMatchObject({
        refused_count: 7,
        refused: [
          { p: 'device', why: 'is a device' },
          { p: 'foreign', why: expect.stringContaining('another user') },
          { p: 'mounted', why: 'is another file system' },
          { p: 'pipe', why: 'is a pipe' },
          { p: 'secret', why: expect.stringContaining('another user') },
          { p: 'setuid', why: expect.stringContaining('setuid') },
          { p: 'socket', why: 'is a socket' },
        ],
      })
      expect(lstatSync(at('setuid')).mode & 0o7777).toBe(0o4755)
    } finally {
      if (isRoot) execFileSync('umount', [at('mounted')])
      server.close()
    }
  })

  it.each([
    ['bytes', { bytes: 5_000 }],
    ['entries', { entries: 150 }],
    ['depth', { depth: 3 }],
  ] as const)('stops at the limit of %s and names the path', async (name, limits) => {
    using tree = new TestTree()
    fill(tree, 2)
    mkdirSync(tree.path('workspace', 'z/y/x/w'), { recursive: true })
    const { replies } = await archiverOf(tree).ask(tree.saving(limits), { type: 'known_end' })
    const message = expect.stringMatching(new RegExp(`limit of ${name} .* at ${tree.path('workspace')}/.`))
    expect(replies.at(-1)).toEqual({ type: 'failed', code: 'limit', message })
  })

  it('does not read what is beyond the limit of bytes', async () => {
    using tree = new TestTree()
    // Reading its holes would take hours.
    execFileSync('truncate', ['-s', '8T', tree.path('workspace', 'holes')])
    giveAway(tree.path('workspace'), tree.uid)
    const { replies } = await archiverOf(tree).ask(tree.saving(), { type: 'known_end' })
    const message = expect.stringMatching(new RegExp(`limit of bytes .* at ${tree.path('workspace')}/holes`))
    expect(replies.at(-1)).toEqual({ type: 'failed', code: 'limit', message })
  })

  it('goes deeper than a path can be long, and back', async () => {
    using tree = new TestTree()
    // Made as the session would: by going in.
    const script = `const { chdir } = process, { mkdirSync, writeFileSync } = fs, [dir, name] = process.argv.slice(1)
      chdir(dir)
      for (let level = 0; level < 60; level++) (mkdirSync(name), chdir(name))
      writeFileSync('file', 'deep')`
    const name = 'd'.repeat(200)
    execFileSync(process.execPath, ['-e', script, tree.path('workspace'), name])
    execFileSync('chown', ['-R', `${tree.uid}:${tree.uid}`, tree.path('workspace')])
    const archiver = archiverOf(tree)
    const saved = await archiver.save(tree.saving())
    expect(entriesOf(saved)).toHaveLength(62)
    execFileSync('rm', ['-rf', tree.path('workspace', name)])
    expect(await archiver.restore(tree.restoring(), saved)).toMatchObject({ type: 'restored', entries: 62 })
    expect((await archiver.save(tree.saving(), saved)).segments).toEqual(saved.segments)
  })

  it('fails for a root that is a link or a file, and reads nothing there', async () => {
    using tree = new TestTree(['parent'])
    symlinkSync('/etc', tree.path('parent/link'))
    writeFileSync(tree.path('parent/file'), '')
    for (const name of ['link', 'file']) {
      const roots = [{ name: 'workspace', path: tree.path('parent', name), exclude: [] }]
      const { replies } = await archiverOf(tree).ask({ ...tree.saving(), roots }, { type: 'known_end' })
      expect(replies).toEqual([{ type: 'failed', code: 'io', message: expect.stringContaining('is not a directory') }])
    }
  })

  it('takes nonsense for no memory', async () => {
    using tree = new TestTree()
    fill(tree, 1)
    await untilSteady()
    const archiver = archiverOf(tree)
    const first = await archiver.save(tree.saving())
    for (const cache of [
      randomBytes(5_000),
      first.answer.cache.subarray(0, -7),
      Buffer.concat([first.answer.cache.subarray(0, 8), randomBytes(1_000)]),
    ]) {
      archiver.cache = Buffer.from(cache)
      expect((await archiver.save(tree.saving(), first)).segments).toEqual(first.segments)
    }
  })

  it('keeps 20,000 files, and brings them back', { timeout: 240_000 }, async () => {
    using tree = new TestTree()
    fill(tree, 200)
    const archiver = archiverOf(tree)
    const saved = await archiver.save(tree.saving())
    expect(entriesOf(saved)).toHaveLength(20_201)
    const before = tree.look()
    execFileSync('sh', ['-c', 'rm -rf "$1"/*', 'sh', tree.path('workspace')])
    expect(await archiver.restore(tree.restoring(), saved)).toMatchObject({ type: 'restored', entries: 20_201 })
    expect(tree.look()).toEqual(before)
    // A restore remembers, too.
    expect(archiver.cache.length).toBeGreaterThan(20_000 * 70)
    expect(sent(await archiver.save(tree.saving(), saved))).toEqual({ chunks: 0, segments: 0 })
  })
})

it.skipIf(!isRoot)('what another user may read is kept', async () => {
  using tree = new TestTree()
  writeFileSync(tree.path('workspace', 'of-root'), 'readable')
  chownSync(tree.path('workspace', 'of-root'), 0, 0)
  const archiver = archiverOf(tree)
  const saved = await archiver.save(tree.saving())
  expect(await archiver.restore(tree.restoring(), saved)).toMatchObject({ type: 'restored' })
  expect(lstatSync(tree.path('workspace', 'of-root')).uid).toBe(tree.uid)
})
