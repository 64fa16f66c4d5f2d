import { createHash } from 'node:crypto'
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { inside } from '../driver.ts'
import { errno } from './errno.ts'
import { words } from './words.ts'

/** Directories that a runtime mounts over. In a user namespace nobody could make them later: the root file system is not theirs. */
const mountPoints = [
  ...words('proc dev sys run usr root opt/berth mnt/session var/lib etc/ssl/certs etc/alternatives'),
  ...[inside.run, inside.workspace, inside.home, inside.outputs].map((path) => path.slice(1)),
]
const fileMountPoints = ['/opt/berth/init', inside.node, inside.claude, inside.runner, inside.archiver].map((path) =>
  path.slice(1),
)

/** Files of the host by which programs find libraries, time zone rules and certificate authorities. Nothing about the host's users. */
const copied = ['etc/ld.so.cache', 'etc/ssl/openssl.cnf', 'etc/protocols', 'etc/services']
const authoritiesFile = inside.authorities.slice(1)
const rootLinks = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32']

/** Programs that ask for their user's name fail without one: the first session of a sandbox has it, and some that live there with it. */
const NAMED = 256
const agents = Array.from({ length: NAMED }, (_, n) => [n === 0 ? 'agent' : `agent${n}`, inside.firstUid + n] as const)

const written: Readonly<Record<string, string>> = {
  'etc/passwd': [
    'root:x:0:0:root:/:/usr/sbin/nologin',
    ...agents.map(([name, uid]) => `${name}:x:${uid}:${uid}:agent:/home/agent:/bin/bash`),
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
    '',
  ].join('\n'),
  'etc/group': ['root:x:0:', ...agents.map(([name, uid]) => `${name}:x:${uid}:`), 'nogroup:x:65534:', ''].join('\n'),
  // Names are never asked of anybody: there is no network, and a lookup must fail at once.
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n',
  'etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
  'etc/hostname': 'sandbox\n',
  'etc/resolv.conf': '',
}

/**
 * The root file system of a sandbox without an image: mount points and the few files of /etc that programs need, all owned by the
 * host's root. Built once per state of the host's files, named by it; returns its path.
 */
export async function ensureSkeleton(dir: string, authorities: readonly string[]): Promise<string> {
  const trusted = await trustedIn(authorities)
  return ensureDirectory(join(dir, await hostFingerprint(trusted)), (root) => fill(root, trusted))
}

/** The layer that an image gets on top: mount points, no way to resolve names and, where there are any, authorities in place of its own. */
export async function ensureMountPoints(dir: string, authorities: readonly string[]): Promise<string> {
  const trusted = authorities.length === 0 ? undefined : await trustedIn(authorities)
  const state = createHash('sha256')
    .update(JSON.stringify([mountPoints, fileMountPoints, trusted]))
    .digest('hex')
    .slice(0, 16)
  return ensureDirectory(join(dir, `mount-points-${state}`), async (root) => {
    await makeMountPoints(root)
    if (trusted !== undefined) await put(join(root, authoritiesFile), trusted)
    for (const name of ['etc/hosts', 'etc/resolv.conf', 'etc/nsswitch.conf'])
      await put(join(root, name), written[name] ?? '')
  })
}

/** The host's authorities and these. */
async function trustedIn(authorities: readonly string[]): Promise<string> {
  const ofHost = await readFile(inside.authorities, 'utf8').catch(() => '')
  return (
    [ofHost, ...authorities]
      .map((text) => text.trim())
      .filter((text) => text !== '')
      .join('\n') + '\n'
  )
}

/** Fills a directory aside and gives it its name when it is complete, unless it is there. Returns the path. */
async function ensureDirectory(path: string, fill: (draft: string) => Promise<void>): Promise<string> {
  if (await exists(path)) return path
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  const draft = await mkdtemp(`${path}.`)
  try {
    await fill(draft)
    await chmod(draft, 0o755)
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    // Another maker was faster; its work is the same.
    if (errno(error) !== 'ENOTEMPTY' && errno(error) !== 'EEXIST') throw error
  }
  return path
}

async function fill(root: string, trusted: string): Promise<void> {
  await makeMountPoints(root)
  for (const [name, text] of Object.entries(written)) await put(join(root, name), text)
  for (const name of copied) if (await exists(join('/', name))) await copyFile(join('/', name), join(root, name))
  await put(join(root, authoritiesFile), trusted)
  for (const name of rootLinks) await copyLink(join('/', name), join(root, name))
  await copyLinks('/etc/alternatives', join(root, 'etc/alternatives'))
  await copyLinks('/etc/ssl/certs', join(root, 'etc/ssl/certs'))
}

async function makeMountPoints(root: string): Promise<void> {
  for (const name of mountPoints) await mkdir(join(root, name), { recursive: true, mode: 0o755 })
  for (const name of fileMountPoints) await put(join(root, name), '')
  // runc gives a tmpfs the mode of what it covers.
  await mkdir(join(root, 'tmp'), { recursive: true })
  await chmod(join(root, 'tmp'), 0o1777)
  await mkdir(join(root, 'var'), { recursive: true })
  await symlink('../tmp', join(root, 'var/tmp'))
}

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  await writeFile(path, text, { mode: 0o644 })
}

async function copyLinks(from: string, to: string): Promise<void> {
  const names = await readdir(from).catch(() => [])
  await Promise.all(names.map((name) => copyLink(join(from, name), join(to, name))))
}

/** Copies a symbolic link that leads into /usr, and not into /usr/local; anything else is the host's own business. */
async function copyLink(from: string, to: string): Promise<void> {
  const target = await readlink(from).catch(() => undefined)
  if (target === undefined) return
  const own = !target.startsWith('/') || (target.startsWith('/usr/') && !target.startsWith('/usr/local/'))
  if (own) await symlink(target, to)
}

async function hostFingerprint(trusted: string): Promise<string> {
  const ours = [written, copied, mountPoints, fileMountPoints, rootLinks, trusted]
  const hash = createHash('sha256').update(JSON.stringify(ours))
  const names = [...copied, ...rootLinks, 'etc/alternatives', 'etc/ssl/certs']
  const stats = await Promise.all(names.map((name) => lstat(join('/', name)).catch(() => undefined)))
  stats.forEach((at, index) => hash.update(`${names[index]} ${at?.mtimeMs} ${at?.size}\n`))
  return hash.digest('hex').slice(0, 16)
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
