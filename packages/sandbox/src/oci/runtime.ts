import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { promisify } from 'node:util'

/** Where the system's programs are, whatever the server's own search path says. */
const programDirs = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

export interface OciRuntime {
  readonly path: string
  /** The name by which it introduces itself: `crun`, `runc`, `runsc`, … */
  readonly name: string
  readonly version: string
}

/** In this order, for `auto`. */
const known = ['crun', 'runc']

/** `auto`: crun, else runc. undefined: none is there, or the named one is no program. */
export async function findRuntime(wanted: string): Promise<OciRuntime | undefined> {
  for (const name of wanted === 'auto' ? known : [wanted]) {
    const path = isAbsolute(name) ? name : await findProgram(name)
    const runtime = path === undefined ? undefined : await introduce(path)
    if (runtime !== undefined) return runtime
  }
  return undefined
}

/** Whether it makes sandboxes of the host's own processes, whose confinement the host can see. What another one makes, it answers for itself. */
export function isKnown({ name }: OciRuntime): boolean {
  return known.includes(name)
}

async function introduce(path: string): Promise<OciRuntime | undefined> {
  const run = promisify(execFile)
  const answer = await run(path, ['--version'], { env: {}, timeout: 10_000 }).catch(() => undefined)
  const match = answer === undefined ? null : /^(\S+) version (\S+)/.exec(answer.stdout)
  return match?.[1] === undefined || match[2] === undefined ? undefined : { path, name: match[1], version: match[2] }
}

export async function findProgram(name: string): Promise<string | undefined> {
  for (const dir of programDirs) {
    const path = join(dir, name)
    if (await isExecutable(path)) return path
  }
  return undefined
}

export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
