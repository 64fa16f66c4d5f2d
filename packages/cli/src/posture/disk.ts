import { readdir, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Finding } from '@berth/sandbox'
import { fail, ok } from '@berth/sandbox/finding'
import type { InstallationName } from './names.ts'

/** Names of what would be a key in wrong hands. */
const SECRET = /key|secret|token|\.pem$/i
const OTHERS = 0o077
const WRITE_OTHERS = 0o022
const STICKY = 0o1000

/** Who can get at the data directory. What is in it is behind its mode. */
export async function dataDirectory(path: string): Promise<Finding> {
  const what: InstallationName = 'data directory'
  const at = await stat(path).catch(() => undefined)
  if (at === undefined) return ok(what, `${path} is not there yet; it is made for its owner alone`)
  const mode = (at.mode & 0o7777).toString(8).padStart(4, '0')
  if ((at.mode & OTHERS) !== 0) {
    return fail(
      what,
      `${path} is open to others (${mode}): every conversation is in it`,
      `chmod 700 ${path}, and look at who was in it`,
    )
  }
  if (at.uid !== process.getuid?.())
    return fail(what, `${path} belongs to user ${at.uid}`, `chown -R ${process.getuid?.()} ${path}`)
  const loose = await looseAncestor(path)
  if (loose !== undefined) {
    return fail(
      what,
      `${path} can be replaced by others: they may write in ${loose}`,
      `chmod go-w ${loose}, or use another --data-dir`,
    )
  }
  return ok(what, `${path} (${mode}), its owner’s alone`)
}

/** A directory above in which others could put something else in its place. */
async function looseAncestor(path: string): Promise<string | undefined> {
  for (let dir = dirname(resolve(path)); ; dir = dirname(dir)) {
    const at = await stat(dir)
    if ((at.mode & WRITE_OTHERS) !== 0 && (at.mode & STICKY) === 0) return dir
    if (dir === dirname(dir)) return undefined
  }
}

/** Keys in the data directory and the gateway's part of it: each its owner's alone, whatever the directory's mode. */
export async function secretsOnDisk(dataDir: string): Promise<Finding> {
  const what: InstallationName = 'secrets on disk'
  const gateway = join(dataDir, 'gateway')
  const dirs = [dataDir, gateway, ...(await dirsIn(gateway))]
  const files = (await Promise.all(dirs.map(filesOf))).flat().filter(({ name }) => SECRET.test(name))
  const open = files.filter(({ mode }) => (mode & OTHERS) !== 0).map(({ path }) => path)
  if (open.length > 0)
    return fail(what, `others can read ${open.join(', ')}`, `chmod 600 ${open.join(' ')}, and replace what was in it`)
  if (files.length === 0) return ok(what, 'none')
  const names = files.map(({ name }) => name).toSorted((one, two) => one.localeCompare(two))
  return ok(what, `in the clear, for their owner alone: ${names.join(', ')}; keep backups of them as you keep keys`)
}

async function dirsIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(dir, name))
}

async function filesOf(dir: string): Promise<{ name: string; path: string; mode: number }[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => entry.isFile())
  return Promise.all(
    files.map(async ({ name }) => {
      const path = join(dir, name)
      return { name, path, mode: (await stat(path)).mode }
    }),
  )
}
