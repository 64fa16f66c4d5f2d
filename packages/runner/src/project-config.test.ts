import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ProjectConfig } from './project-config.ts'
import { TestSandbox } from './testing/sandbox.ts'

const isRoot = process.getuid?.() === 0
const sources = { setting_sources: ['project' as const, 'local' as const] }

/** A session that has files but no CLI. */
function workspace(sandbox: TestSandbox, files: Readonly<Record<string, string>> = {}) {
  const { config } = sandbox.session(sources)
  mkdirSync(join(config.cwd, '.claude/skills'), { recursive: true })
  for (const [path, text] of Object.entries(files)) writeFileSync(join(config.cwd, path), text)
  return config
}

const deny = JSON.stringify({ permissions: { deny: ['Read'] }, apiKeyHelper: 'touch x' })

test('the directory has what is allowed, belongs to the runner, and is gone afterwards', async () => {
  await using sandbox = new TestSandbox('')
  const config = workspace(sandbox, { '.claude/settings.json': deny, '.mcp.json': '{}' })
  const project = new ProjectConfig(config, !isRoot)
  const root = project.root ?? ''
  expect(JSON.parse(readFileSync(join(root, '.claude/settings.json'), 'utf8'))).toEqual({
    permissions: { deny: ['Read'] },
  })
  expect(readFileSync(join(root, '.claude/settings.local.json'), 'utf8')).toBe('{}')
  expect(readlinkSync(join(root, '.claude/skills'))).toBe(join(config.cwd, '.claude/skills'))
  for (const path of [root, join(root, '.claude'), join(root, '.claude/settings.json')]) {
    expect(statSync(path).mode & 0o022).toBe(0)
    expect(statSync(path).uid).toBe(process.getuid?.())
  }
  expect(existsSync(join(root, '.mcp.json'))).toBe(false)
  project[Symbol.dispose]()
  expect(existsSync(root)).toBe(false)
})

test('nothing is made for a session without sources, nor where another could write', async () => {
  await using sandbox = new TestSandbox('')
  const config = workspace(sandbox)
  expect(new ProjectConfig({ ...config, setting_sources: [] }, !isRoot).root).toBeUndefined()
  if (!isRoot) return
  chmodSync(sandbox.dir, 0o1777)
  expect(() => new ProjectConfig(config, false)).toThrow(/can be written by others/)
})

test('it is outdated when a file that the CLI reads is another, and not for the others', async () => {
  await using sandbox = new TestSandbox('')
  const config = workspace(sandbox, { 'CLAUDE.md': 'a' })
  const write = (path: string, text: string) => writeFileSync(join(config.cwd, path), text)
  const changes = [
    () => write('CLAUDE.md', 'ab'),
    () => write('.claude/settings.local.json', '{}'),
    () => mkdirSync(join(config.cwd, '.claude/skills/s')),
    () => write('.claude/skills/s/SKILL.md', 'x'),
  ]
  for (const change of changes) {
    using project = new ProjectConfig(config, !isRoot)
    write('other.txt', String(changes.indexOf(change)))
    expect(project.isOutdated).toBe(false)
    change()
    expect(project.isOutdated).toBe(true)
  }
})

test('links out, pipes and large files in the place of settings are no settings, and nothing waits for them', async () => {
  await using sandbox = new TestSandbox('')
  const secret = join(sandbox.dir, 'secret')
  writeFileSync(secret, deny, { mode: 0o600 })
  const make: Record<string, (path: string) => void> = {
    link: (path) => symlinkSync(secret, path),
    pipe: (path) => execFileSync('mkfifo', [path]),
    large: (path) => {
      writeFileSync(path, deny)
      truncateSync(path, 2 ** 40)
    },
    directory: (path) => mkdirSync(path),
  }
  for (const plant of Object.values(make)) {
    const config = workspace(sandbox)
    const path = join(config.cwd, '.claude/settings.json')
    plant(path)
    using project = new ProjectConfig(config, !isRoot)
    expect(readFileSync(join(project.root ?? '', '.claude/settings.json'), 'utf8')).toBe('{}')
    expect(project.isOutdated).toBe(false)
  }
  if (!isRoot) return
  // A directory that leads to what only the runner can read.
  const closed = join(sandbox.dir, 'closed')
  mkdirSync(join(closed, '.claude'), { recursive: true, mode: 0o700 })
  writeFileSync(join(closed, '.claude/settings.json'), deny)
  const { config } = sandbox.session(sources)
  symlinkSync(join(closed, '.claude'), join(config.cwd, '.claude'))
  chownSync(config.cwd, config.uid, config.uid)
  using project = new ProjectConfig(config, false)
  expect(readFileSync(join(project.root ?? '', '.claude/settings.json'), 'utf8')).toBe('{}')
})
