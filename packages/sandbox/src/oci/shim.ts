import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { open, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { BerthError } from '@berth/protocol'
import { ROOT_MOUNT_POINT } from './layout.ts'
import { identify } from './process-identity.ts'
import { sandboxFiles } from './sandbox-files.ts'
import { words } from './words.ts'

const KILL_TIMEOUT_MS = 5_000

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
  /** Its file system is made, or kept as it was left. */
  readonly disk: 'make' | 'keep'
}

/** Process, mounts and, through its own /proc, what it sees are the shim's own; it dies with unshare, and all in it with the shim. */
const unshareOptions = '--mount --propagation slave --pid --fork --kill-child=KILL --mount-proc --'

/** Shell script; beside this file in the sources and in a bundle. */
export const shimScript = join(import.meta.dirname, 'shim.sh')

/**
 * Starts the shim, detached: nothing that happens to this process reaches it from then on. Resolves when it has launched the
 * sandbox's first process. When it throws, with the shim's own words, no process is left; `conflict` when the sandbox was destroyed
 * meanwhile.
 */
export async function startShim(settings: ShimSettings, signal: AbortSignal): Promise<void> {
  try {
    await launch(settings, signal)
  } catch (error) {
    if ((await stat(settings.dir).catch(() => undefined)) !== undefined) throw error
    throw new BerthError('conflict', `sandbox ${settings.id} was destroyed while it was being made`, { cause: error })
  }
}

async function launch(settings: ShimSettings, signal: AbortSignal): Promise<void> {
  await using log = await open(join(settings.dir, 'shim.log'), 'a', 0o600)
  const command = [...words(unshareOptions), '/bin/bash', '--noprofile', '--norc', shimScript]
  const child = spawn('/usr/bin/unshare', command, {
    detached: true,
    cwd: '/',
    env: environment(settings),
    stdio: ['pipe', 'ignore', log.fd, 'pipe'],
  })
  child.unref()
  child.stdin?.on('error', () => {})
  const voice = listen(child)
  try {
    await admit(child, settings)
    const line = await abortable(voice.line, signal)
    if (line !== 'started') throw new BerthError('unavailable', await explain(settings, line))
  } catch (error) {
    child.kill('SIGKILL')
    await Promise.race([voice.silence, sleep(KILL_TIMEOUT_MS, undefined, { ref: false })])
    throw error
  } finally {
    child.stdin?.destroy()
    child.stdio[3]?.destroy()
  }
}

/** The shim does nothing before it is on record: a process that nobody could find again must not come to be. */
async function admit(child: ChildProcess, settings: ShimSettings): Promise<void> {
  if (child.pid === undefined) throw new BerthError('unavailable', 'cannot start /usr/bin/unshare')
  const identity = await identify(child.pid)
  if (identity === undefined) throw new BerthError('unavailable', 'the sandbox shim ended at once')
  await sandboxFiles.writeShim(settings.dir, identity)
  for (const procs of settings.join) await writeFile(procs, String(identity.pid))
  child.stdin?.end('go\n')
}

/**
 * What comes through the pipe: the one line that the shim says, as far as it got; and silence, when it and every process in which
 * it has handed the pipe on has ended.
 */
function listen(child: ChildProcess): { line: Promise<string>; silence: Promise<void> } {
  const [line, silence] = [Promise.withResolvers<string>(), Promise.withResolvers<void>()]
  const pipe = child.stdio[3]
  let text = ''
  const end = (): void => {
    line.resolve(text.trim())
    silence.resolve()
  }
  child.on('error', end)
  if (isReadable(pipe)) {
    pipe.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (text.includes('\n')) line.resolve(text.trim())
    })
    pipe.on('end', end).on('error', end)
  } else end()
  return { line: line.promise, silence: silence.promise }
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
    BERTH_DISK: settings.disk,
  }
}
