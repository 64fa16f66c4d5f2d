/** Where a sandbox's start has come by when, read off the files it leaves behind: costs nothing while it happens. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ociOptions } from '@berth/cli/programs'

/** Milliseconds since `origin`. */
export interface Landmarks {
  /** The sandbox's directory was complete and its shim's process made. */
  readonly shim: number
  /** The driver had launched the runner. */
  readonly launched: number
  /** The server listened for the runner. */
  readonly listening: number
  /** The runner made the session's home, which is the last thing before it becomes the CLI. */
  readonly cli: number
  /** How long the sandbox's processes were kept from running by its CPU limit. */
  readonly throttledMs: number
  /** How long they have run until now. */
  readonly cpuMs: number
}

/** Of the only sandbox there is. `origin`: ms since 1970. */
export async function landmarks(dataDir: string, origin: number): Promise<Landmarks> {
  const sandboxes = ociOptions({ dataDir }).stateDir
  const id = (await readdir(sandboxes)).find((name) => name.startsWith('sbx_'))
  if (id === undefined) throw new Error('there is no sandbox')
  const dir = join(sandboxes, id)
  const modified = async (name: string): Promise<number> => (await stat(join(dir, name))).mtimeMs - origin
  return {
    shim: await modified('shim.json'),
    launched: await modified('started'),
    listening: (await stat(join(dir, 'run/link/link.sock'))).mtimeMs - origin,
    cli: (await homeMadeAt(id)) - origin,
    throttledMs: await throttled(id),
    cpuMs: Number(await readFile(`/sys/fs/cgroup/cpuacct/berth/${id}/cpuacct.usage`, 'utf8')) / 1e6,
  }
}

async function homeMadeAt(id: string): Promise<number> {
  const pids = (await readFile(`/sys/fs/cgroup/pids/berth/${id}/cgroup.procs`, 'utf8')).trim().split('\n')
  const home = `/proc/${pids[0]}/root/home`
  const session = (await readdir(home)).find((name) => name.startsWith('sesn_'))
  return (await stat(join(home, session ?? ''))).birthtimeMs
}

async function throttled(id: string): Promise<number> {
  const text = await readFile(`/sys/fs/cgroup/cpu/berth/${id}/cpu.stat`, 'utf8')
  return Number(/^throttled_time (\d+)/m.exec(text)?.[1] ?? 0) / 1e6
}
