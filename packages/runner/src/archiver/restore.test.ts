import { CHUNK_BYTES } from '@berth/protocol/archive'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { describe, expect, it } from 'vitest'
import { TestArchiver } from '../testing/archiver.ts'
import { archiverForTests } from '../testing/bundle.ts'
import { giveAway, isRoot, TestTree } from '../testing/file-tree.ts'

const program = archiverForTests()
const archiverOf = (tree: TestTree): TestArchiver => new TestArchiver(program, isRoot ? tree.uid : undefined)

const common = { r: 'workspace', m: 0o755, t: '1000000000' }
const root = { k: 'dir', p: '', ...common }
const dir = (p: string): object => ({ k: 'dir', ...common, p })
const file = (p: string, more: object = {}): object => ({ k: 'file', ...common, p, s: 0, c: [], ...more })
const link = (p: string, to: string): object => ({ k: 'link', ...common, p, to })
const hard = (p: string, of: string, r = 'workspace'): object => ({ k: 'hard', ...common, p, of: { r, p: of } })
const hash = 'a'.repeat(64)

const segment = (...entries: readonly (object | string)[]) =>
  ({
    type: 'segment',
    text: entries.map((entry) => `${typeof entry === 'string' ? entry : JSON.stringify(entry)}\n`).join(''),
  }) as const

describe('a restore refuses', () => {
  it.each<[string, readonly (object | string)[], Uint8Array?]>([
    ['a path that leads up', [root, file('../x')]],
    ['a path that leads up in the middle', [root, dir('a'), file('a/../../x')]],
    ['an absolute path', [root, file('/etc/x')]],
    ['an empty part', [root, dir('a'), file('a//x')]],
    ['a dot', [root, file('.')]],
    ['a NUL', [root, file('a\0b')]],
    ['a NUL in base64', [root, { ...file(''), p: { b64: Buffer.from('a\0b').toString('base64') } }]],
    ['a way up in base64', [root, { ...file(''), p: { b64: Buffer.from('../x').toString('base64') } }]],
    ['half a character', [root, '{"k":"file","r":"workspace","p":"\\ud800","m":420,"t":"1","s":0,"c":[]}']],
    ['a name that is too long', [root, file('x'.repeat(256))]],
    ['what stands under a link', [root, link('a', '..'), file('a/x')]],
    ['a directory under a link', [root, link('a', '/'), dir('a/etc')]],
    ['what stands under a file', [root, file('a'), file('a/x')]],
    ['what comes before its directory', [root, file('a/x')]],
    ['what comes after its directory was left', [root, dir('a'), file('b'), file('a/x')]],
    ['what comes twice', [root, file('a'), file('a')]],
    ['a directory that comes twice', [root, dir('a'), file('b'), dir('a')]],
    ['a directory in the place of a link', [root, link('a', '..'), dir('a'), file('a/x')]],
    ['an unknown root', [{ ...root, r: 'other' }]],
    ['what comes before its root', [file('a')]],
    ['a root that is no directory', [{ ...root, k: 'link', to: '/etc' }]],
    ['a root that comes twice', [root, root]],
    ['setuid', [root, file('a', { m: 0o4755 })]],
    ['a size without chunks', [root, file('a', { s: 5 })]],
    ['chunks without a size', [root, file('a', { c: [hash] })]],
    ['more zeros than the size has', [root, file('a', { s: 5, c: [2], sparse: true })]],
    ['a chunk of another size', [root, file('a', { s: 5, c: [hash] })], Buffer.alloc(6)],
    ['a chunk that is cut', [root, file('a', { s: CHUNK_BYTES + 1, c: [hash, hash] })], Buffer.alloc(5)],
    ['a hard link to nothing', [root, hard('a', 'b')]],
    ['a hard link to a directory', [root, dir('a'), hard('b', 'a')]],
    ['a hard link to a link', [root, link('a', '/etc/passwd'), hard('b', 'a')]],
    ['a hard link through a link', [root, link('a', '/etc'), hard('b', 'a/passwd')]],
    ['a hard link that leads up', [root, hard('b', '../outside')]],
    ['a hard link to the root', [root, hard('b', '')]],
    ['a hard link of an unknown root', [root, hard('b', 'a', 'other')]],
    ['a hard link to what is excluded', [root, dir('kept'), hard('b', 'kept/secret')]],
    ['what is excluded', [root, dir('kept'), file('kept/secret')]],
    ['what is below something excluded', [root, dir('kept'), dir('kept/secret'), file('kept/secret/x')]],
    ['a link in the place of what leads to something excluded', [root, link('kept', '/etc')]],
    ['an unknown field', [root, file('a', { owner: 0 })]],
    ['an unknown kind', [root, { ...file('a'), k: 'device' }]],
    ['what is no JSON', [root, 'x']],
    ['a link to nothing', [root, link('a', '')]],
    ['a link with a NUL', [root, link('a', 'b\0c')]],
  ])('%s', async (_name, entries, chunk) => {
    using tree = new TestTree(['workspace'], ['kept/secret'])
    writeFileSync(tree.path('outside'), 'outside')
    mkdirSync(tree.path('workspace', 'kept'))
    writeFileSync(tree.path('workspace', 'kept/secret'), 'kept')
    giveAway(tree.path('workspace'), tree.uid)
    const chunks = chunk === undefined ? [] : [chunk]
    const answer = await archiverOf(tree).ask(tree.restoring(), segment(...entries), ...chunks, { type: 'end' })
    expect(answer.replies).toEqual([{ type: 'failed', code: 'bad_archive', message: expect.any(String) }])
    expect(readdirSync(tree.dir).toSorted()).toEqual(['outside', 'workspace'])
    expect(readFileSync(tree.path('outside'), 'utf8')).toBe('outside')
    expect(lstatSync(tree.path('outside')).nlink).toBe(1)
    expect(readFileSync(tree.path('workspace', 'kept/secret'), 'utf8')).toBe('kept')
  })

  it.each([
    ['bytes', { bytes: 4 }, [root, file('a', { s: 5, c: [hash] })]],
    ['entries', { entries: 2 }, [root, file('a'), file('b')]],
    ['depth', { depth: 1 }, [root, dir('a'), dir('a/b')]],
  ] as const)('more than the limit of %s, naming it', async (name, limits, entries) => {
    using tree = new TestTree()
    const answer = await archiverOf(tree).ask(tree.restoring(limits), segment(...entries), Buffer.alloc(5), {
      type: 'end',
    })
    expect(answer.replies).toEqual([{ type: 'failed', code: 'limit', message: expect.stringContaining(name) }])
  })

  it('messages out of order', async () => {
    using tree = new TestTree()
    const archiver = archiverOf(tree)
    for (const messages of [
      [Buffer.from('x')],
      [{ type: 'end' } as const],
      [tree.restoring(), Buffer.from('x')],
      [tree.restoring(), segment(root, file('a', { s: 5, c: [hash] })), { type: 'end' } as const],
      [tree.saving(), Buffer.alloc(31)],
    ]) {
      const { replies } = await archiver.ask(...messages)
      expect(replies).toEqual([{ type: 'failed', code: 'bad_archive', message: expect.any(String) }])
    }
  })
})

describe('a restore', () => {
  it('removes whatever there is, without following links, and leaves what is excluded', async () => {
    using tree = new TestTree(['workspace'], ['.claude/projects', 'node'])
    const at = (...parts: string[]): string => tree.path('workspace', ...parts)
    mkdirSync(tree.path('outside/deep'), { recursive: true })
    writeFileSync(tree.path('outside/deep/file'), 'outside')
    mkdirSync(at('.claude/projects/x'), { recursive: true })
    writeFileSync(at('.claude/projects/x/transcript'), 'kept')
    writeFileSync(at('.claude/settings'), 'gone')
    mkdirSync(at('closed/below'), { recursive: true })
    writeFileSync(at('closed/below/file'), '')
    chmodSync(at('closed/below'), 0)
    chmodSync(at('closed'), 0)
    symlinkSync(tree.path('outside'), at('node'))
    symlinkSync(tree.path('outside'), at('link'))
    symlinkSync('loop', at('loop'))
    execFileSync('mkfifo', [at('pipe')])
    let deep = at('deep')
    for (let level = 0; level < 15; level++) deep = `${deep}/${'d'.repeat(200)}`
    mkdirSync(deep, { recursive: true })
    giveAway(tree.path('workspace'), tree.uid)
    giveAway(tree.path('outside'), tree.uid)
    const entries = [root, dir('.claude'), file('.claude/new'), file('link')]
    const answer = await archiverOf(tree).ask(tree.restoring(), segment(...entries), { type: 'end' })
    expect(answer.replies).toEqual([{ type: 'restored', entries: 4, bytes: 0 }])
    expect(readdirSync(at()).toSorted()).toEqual(['.claude', 'link', 'node'])
    expect(readdirSync(at('.claude')).toSorted()).toEqual(['new', 'projects'])
    expect(readFileSync(at('.claude/projects/x/transcript'), 'utf8')).toBe('kept')
    expect(lstatSync(at('link')).isFile()).toBe(true)
    expect(lstatSync(at('node')).isSymbolicLink()).toBe(true)
    expect(readFileSync(tree.path('outside/deep/file'), 'utf8')).toBe('outside')
  })

  it('makes a root that is missing, and refuses one that is a link or a file', async () => {
    using tree = new TestTree(['parent'])
    mkdirSync(tree.path('elsewhere'))
    writeFileSync(tree.path('elsewhere/file'), 'elsewhere')
    symlinkSync(tree.path('elsewhere'), tree.path('parent/link'))
    writeFileSync(tree.path('parent/file'), '')
    giveAway(tree.path('elsewhere'), tree.uid)
    const restoring = (name: string) => ({
      ...tree.restoring(),
      roots: [{ name: 'workspace', path: tree.path('parent', name), exclude: [] }],
    })
    const archiver = archiverOf(tree)
    for (const name of ['link', 'file']) {
      const { replies } = await archiver.ask(restoring(name), segment(root), { type: 'end' })
      expect(replies).toEqual([{ type: 'failed', code: 'io', message: expect.stringContaining('is not a directory') }])
    }
    expect(readFileSync(tree.path('elsewhere/file'), 'utf8')).toBe('elsewhere')
    const { replies } = await archiver.ask(restoring('new/one'), segment(root, file('a')), { type: 'end' })
    expect(replies).toEqual([{ type: 'restored', entries: 2, bytes: 0 }])
    expect(existsSync(tree.path('parent/new/one/a'))).toBe(true)
  })

  it.skipIf(!isRoot)('says that the disk is full', async () => {
    using tree = new TestTree()
    const at = tree.path('workspace')
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=64k,uid=${tree.uid},gid=${tree.uid}`, 'tmpfs', at])
    try {
      const big = file('a', { s: CHUNK_BYTES, c: [hash] })
      const answer = await archiverOf(tree).ask(tree.restoring(), segment(root, big), Buffer.alloc(CHUNK_BYTES, 'x'), {
        type: 'end',
      })
      expect(answer.replies).toEqual([{ type: 'failed', code: 'full', message: `${at}/a: ENOSPC` }])
    } finally {
      execFileSync('umount', [at])
    }
  })
})
