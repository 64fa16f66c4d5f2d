/** A session's sandbox as the machine sees it: for stories in which something in it dies. */
import { existsSync } from 'node:fs'
import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { cgroupPids, readCgroups } from '@berth/sandbox/oci/cgroup'
import { sandboxFiles } from '@berth/sandbox/oci/sandbox-files'
import type { SandboxDriver, SandboxRef } from '@berth/sandbox'
import { waitUntil } from './wait-until.ts'

export interface HostProcess {
  /** On the host. */
  readonly pid: number
  /** Its executable inside the sandbox, and its arguments. */
  readonly args: readonly string[]
}

/** Where a Berth's sandboxes are on this machine. */
export interface SandboxesHere {
  readonly stateDir: string
  openDriver(): Promise<SandboxDriver>
}

export class SessionSandbox {
  readonly ref: SandboxRef
  readonly #here: SandboxesHere

  /** Waits until the session has one that runs. */
  static async of(here: SandboxesHere, sessionId: string): Promise<SessionSandbox> {
    await using driver = await here.openDriver()
    const ref = await waitUntil('the session has a sandbox', async () =>
      (await driver.list({ session: sessionId })).find(({ state }) => state === 'running'),
    )
    return new SessionSandbox(here, ref)
  }

  /** One that runs, by its own id. */
  static async named(here: SandboxesHere, id: string): Promise<SessionSandbox> {
    await using driver = await here.openDriver()
    const ref = await waitUntil(`${id} runs`, async () => (await driver.list()).find((one) => one.id === id))
    return new SessionSandbox(here, ref)
  }

  private constructor(here: SandboxesHere, ref: SandboxRef) {
    this.#here = here
    this.ref = ref
  }

  /** Directory on the host. */
  get dir(): string {
    return join(this.#here.stateDir, this.ref.id)
  }

  async processes(): Promise<HostProcess[]> {
    const pids = await cgroupPids(await readCgroups(), this.ref.id)
    return (await Promise.all(pids.map(readProcess))).filter((process) => process !== undefined)
  }

  /** The agent's CLI; waits until it runs. */
  cli(): Promise<HostProcess> {
    return this.#started('the CLI', (args) => args[0] === '/opt/berth/claude')
  }

  /** A process of this program; waits until it runs. */
  program(name: string): Promise<HostProcess> {
    return this.#started(name, (args) => args[0] === name)
  }

  /** The first process with this text among its arguments, such as the shell that is about to run it; waits until it runs. */
  tool(mark: string): Promise<HostProcess> {
    return this.#started(mark, (args) => args[0] !== '/opt/berth/claude' && args.some((arg) => arg.includes(mark)))
  }

  /** Resolves when a program in it has made this file; the path is one inside. */
  async made(path: string): Promise<void> {
    const { pid } = await this.runner()
    await waitUntil(`${path} is made`, () => existsSync(`/proc/${pid}/root${path}`))
  }

  /** Makes an empty file in it, as nobody in it could tell apart from its own; the path is one inside, of a directory that is there or soon will be. */
  async make(path: string): Promise<void> {
    await this.made(dirname(path))
    const { pid } = await this.runner()
    await writeFile(`/proc/${pid}/root${path}`, '')
  }

  /** The sandbox's outermost process: with it, everything in the sandbox ends. */
  async shimPid(): Promise<number> {
    const shim = await sandboxFiles.readShim(this.dir)
    if (shim === undefined) throw new Error(`${this.ref.id} has no shim`)
    return shim.pid
  }

  /** The program that supervises the agents; waits until it runs. */
  runner(): Promise<HostProcess> {
    return this.#started(
      'the runner',
      (args) => args[0] === '/opt/berth/node' && args.includes('/opt/berth/runner.mjs'),
    )
  }

  /** Ends everything in it at once; `lost`: and its disk with it. */
  async kill({ disk }: { disk: 'kept' | 'lost' }): Promise<void> {
    // Unlinked first: whoever is about to use it again finds nothing.
    if (disk === 'lost') await rm(join(this.dir, 'disk.img'))
    process.kill(await this.shimPid(), 'SIGKILL')
  }

  /** Resolves when nothing in it runs and the server has noted that: what comes from then on comes between turns. */
  async ended(): Promise<void> {
    await waitUntil('the server has noted the end', () => {
      using database = new DatabaseSync(join(this.#here.stateDir, '..', 'berth.db'), { readOnly: true })
      const row = database.prepare('SELECT state FROM sandboxes WHERE id = ?').get(this.ref.id)
      return row === undefined || row['state'] === 'lost'
    })
    await using driver = await this.#here.openDriver()
    await waitUntil('the sandbox is gone', async () => (await driver.get(this.ref.id))?.state === 'gone')
  }

  /** Makes the disk useless. Of a sandbox that is gone and that nobody starts again meanwhile. */
  async damageDisk(): Promise<void> {
    await this.ended()
    const disk = join(this.dir, 'disk.img')
    const { size } = await stat(disk)
    await truncate(disk, 0)
    await truncate(disk, size)
  }

  #started(what: string, is: (args: readonly string[]) => boolean): Promise<HostProcess> {
    return waitUntil(`${what} runs`, async () => (await this.processes()).find(({ args }) => is(args)))
  }
}

async function readProcess(pid: number): Promise<HostProcess | undefined> {
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return line === '' ? undefined : { pid, args: line.split('\0').slice(0, -1) }
}
