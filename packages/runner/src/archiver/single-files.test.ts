import type { ArchiveRequest } from '@berth/protocol/archive'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { TestArchiver } from '../testing/archiver.ts'
import { archiverForTests } from '../testing/bundle.ts'
import { giveAway, isRoot, TestTree } from '../testing/file-tree.ts'

const program = archiverForTests()
const archiverOf = (tree: TestTree): TestArchiver => new TestArchiver(program, isRoot ? tree.uid : undefined)
const end: ArchiveRequest = { type: 'end' }

function oddTree(): TestTree {
  const tree = new TestTree()
  const at = (name: string): string => tree.path('workspace', name)
  writeFileSync(at('b'), 'content')
  mkdirSync(at('a'))
  symlinkSync('b', at('link'))
  symlinkSync('loop', at('loop'))
  execFileSync('mkfifo', [at('pipe')])
  writeFileSync(Buffer.concat([Buffer.from(at('')), Buffer.from([0x2f, 0xff])]), '')
  giveAway(tree.path('workspace'), tree.uid)
  mkdirSync(at('closed'))
  writeFileSync(at('closed/x'), '')
  chmodSync(at('closed'), 0o700)
  return tree
}

describe('single files', () => {
  it('are listed', async () => {
    using tree = oddTree()
    const archiver = archiverOf(tree)
    const path = tree.path('workspace')
    const all = await archiver.ask({ type: 'list', path, limit: 100 })
    expect(all.replies).toMatchObject([{ type: 'nodes', is_truncated: false }])
    expect(all.replies[0]?.type === 'nodes' && all.replies[0].nodes).toMatchObject([
      { name: 'a', kind: 'dir' },
      { name: 'b', kind: 'file', size: 7, mode: 0o644, modified: statSync(tree.path('workspace/b')).mtimeMs },
      { name: 'closed', kind: 'dir' },
      { name: 'link', kind: 'link', to: 'b' },
      { name: 'loop', kind: 'link', to: 'loop' },
      { name: 'pipe', kind: 'other' },
      { name: { b64: '/w==' }, kind: 'file' },
    ])
    const some = await archiver.ask({ type: 'list', path, limit: 2 })
    expect(some.replies).toMatchObject([{ type: 'nodes', is_truncated: true, nodes: [{}, {}] }])
    const one = await archiver.ask({ type: 'list', path: `${path}/link`, limit: 1 })
    expect(one.replies).toMatchObject([{ nodes: [{ name: 'link', kind: 'link' }], is_truncated: false }])
  })

  it('are read in parts', async () => {
    using tree = oddTree()
    const path = tree.path('workspace/b')
    for (const [start, length, text] of [
      [0, null, 'content'],
      [3, 2, 'te'],
      [3, 100, 'tent'],
      [7, null, ''],
      [100, null, ''],
      [0, 0, ''],
    ] as const) {
      const { replies, chunks } = await archiverOf(tree).ask({ type: 'read', path, start, length })
      expect(replies).toMatchObject([{ type: 'file', node: { name: 'b', size: 7 } }, { type: 'done' }])
      expect(Buffer.concat(chunks).toString()).toBe(text)
    }
  })

  it.each<[string, string, string]>([
    ['missing', 'read', 'not_found'],
    ['b/under', 'read', 'not_found'],
    ['a', 'read', 'not_file'],
    ['pipe', 'read', 'not_file'],
    ['link', 'read', 'not_file'],
    ['loop', 'read', 'not_file'],
    ['closed/x', 'read', 'denied'],
    ['missing', 'list', 'not_found'],
    ['closed', 'list', 'denied'],
    ['a', 'write', 'not_file'],
    ['b/under', 'write', 'not_found'],
    ['closed/new', 'write', 'denied'],
  ])('%s cannot be had by %s: %s', async (name, what, code) => {
    using tree = oddTree()
    const path = tree.path('workspace', name)
    const before = readdirSync(tree.path('workspace'))
    const messages: Record<string, ArchiveRequest[]> = {
      read: [{ type: 'read', path, start: 0, length: null }],
      list: [{ type: 'list', path, limit: 10 }],
      write: [{ type: 'write', path, mode: 0o644 }, end],
    }
    const { replies } = await archiverOf(tree).ask(...(messages[what] ?? []))
    expect(replies).toEqual([{ type: 'failed', code, message: expect.stringContaining(path) }])
    expect(readdirSync(tree.path('workspace'))).toEqual(before)
  })

  it('are replaced when all has come, links and all', async () => {
    using tree = oddTree()
    const at = (name: string): string => tree.path('workspace', name)
    const archiver = archiverOf(tree)
    const request = { type: 'write', path: at('link'), mode: 0o600 } as const
    const cut = await archiver.ask(request, Buffer.from('half'))
    expect([cut.replies, cut.exitCode]).toEqual([[], 1])
    expect(readFileSync(at('link'), 'utf8')).toBe('content')
    expect(readdirSync(at('')).filter((name) => name.endsWith('.part'))).toEqual([])
    const whole = await archiver.ask(request, Buffer.from('wh'), Buffer.from('ole'), end)
    expect(whole.replies).toEqual([{ type: 'done' }])
    expect(readFileSync(at('link'), 'utf8')).toBe('whole')
    expect(statSync(at('link')).mode & 0o777).toBe(0o600)
    expect(readFileSync(at('b'), 'utf8')).toBe('content')
  })
})
