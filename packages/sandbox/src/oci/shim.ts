import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { BerthError } from '@berth/protocol'
import { ROOT_MOUNT_POINT } from './layout.ts'
import { identify } from './process-identity.ts'
import { sandboxFiles } from './sandbox-files.ts'
import { words } from './words.ts'

/** What shim.sh is told, by its environment. */
export interface ShimSettings {
  readonly id: string
  readonly dir: string
  readonly uidBase: number
  readonly runtime: string
  readonly runtimeRoot: string
  /** Mount point that the runtime must not see. */
  readonly hide: string | undefined
  /** `cgroup.procs` files in which the shim enters itself. */
  readonly join: readonly string[]
  /** Directories of which the root file system consists, highest first. */
  readonly layers: readonly string[]
}

/** Shell script; beside this file in the sources and in a bundle. */
export const shimScript = join(import.meta.dirname, 'shim.sh')

/**
 * Starts the shim, detached: nothing that happens to this process reaches it from then on. Resolves when it has launched the
 * sandbox's first process. Throws, with the shim's own words, when it could not; the caller cleans up.
 */
export async function startShim(settings: ShimSettings, signal: AbortSignal): Promise<void> {
  await using log = await open(join(settings.dir, 'shim.log'), 'a', 0o600)
  const child = spawn(
    '/usr/bin/unshare',
    [
      ...words(
        '--mount --propagation slave --pid --fork --kill-child=KILL --mount-proc -- /bin/bash --noprofile --norc',
      ),
      shimScript,
    ],
    { detached: true, cwd: '/', env: environment(settings), stdio: ['pipe', 'ignore', log.fd, 'pipe'] },
  )
  child.unref()
  const answer = readAnswer(child)
  try {
    await admit(child, settings)
    const text = await abortable(answer, signal)
    if (text !== 'started') throw new BerthError('unavailable', await explain(settings, text))
  } finally {
    child.stdin?.destroy()
    const pipe = child.stdio[3]
    if (pipe) pipe.destroy()
  }
}

/** The shim does nothing before it is on record: a process that nobody could find again must not come to be. */
async function admit(child: ChildProcess, settings: ShimSettings): Promise<void> {
  if (child.pid === undefined) throw new BerthError('unavailable', 'cannot start /usr/bin/unshare')
  const identity = await identify(child.pid)
  if (identity === undefined) throw new BerthError('unavailable', 'the sandbox shim ended at once')
  await sandboxFiles.writeShim(settings.dir, identity)
  for (const procs of settings.join) await writeFile(procs, String(identity.pid))
  child.stdin?.on('error', () => {})
  child.stdin?.end('go\n')
}

/** The one line that the shim says; what there is of it when it ends. The pipe itself stays open as long as the shim. */
function readAnswer(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    const pipe = child.stdio[3]
    let text = ''
    const done = (): void => resolve(text.trim())
    child.on('error', done)
    if (!isReadable(pipe)) return done()
    pipe.setEncoding('utf8')
    pipe.on('data', (chunk: string) => {
      text += chunk
      if (text.includes('\n')) done()
    })
    pipe.on('end', done).on('error', done)
  })
}

function isReadable(stream: ChildProcess['stdio'][number] | undefined): stream is Readable {
  return stream !== null && stream !== undefined && 'readable' in stream
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

async function explain(settings: ShimSettings, text: string): Promise<string> {
  const log = await readFile(join(settings.dir, 'shim.log'), 'utf8').catch(() => '')
  return `sandbox ${settings.id} did not start: ${text || 'its shim ended'}${log === '' ? '' : `: ${log.trim().slice(-1000)}`}`
}

function environment(settings: ShimSettings): NodeJS.ProcessEnv {
  return {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    BERTH_ID: settings.id,
    BERTH_DIR: settings.dir,
    BERTH_OWNER: `${settings.uidBase}:${settings.uidBase}`,
    BERTH_RUNTIME: settings.runtime,
    BERTH_RUNTIME_ROOT: settings.runtimeRoot,
    BERTH_HIDE: settings.hide ?? '',
    BERTH_JOIN: settings.join.join(' '),
    BERTH_LAYERS: settings.layers.join(':'),
    BERTH_ROOT: ROOT_MOUNT_POINT,
  }
}
