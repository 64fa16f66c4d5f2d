/** What a Berth has on this machine: sandboxes with their processes, mounts, loop devices and cgroups, and its gateway. */
import { type FSWatcher, watch } from 'node:fs'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ociOptions } from '@berth/cli/programs'
import { controlSocket } from '@berth/gateway'
import { isBerthError } from '@berth/protocol'
import type { GatewayHealth } from '@berth/protocol/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { openOciDriver, type SandboxDriver } from '@berth/sandbox'
import { leftoversOf } from '@berth/sandbox/oci/leftovers'
import { waitUntil } from './wait-until.ts'

const CLEAN_MS = 60_000

export class MachineTraces implements Disposable {
  readonly stateDir: string
  readonly #dataDir: string
  readonly #gatewayState: string
  readonly #watcher: FSWatcher
  readonly #ids = new Set<string>()

  /** Before the server starts, so that no sandbox is missed. */
  static async follow(dataDir: string): Promise<MachineTraces> {
    await mkdir(ociOptions({ dataDir }).stateDir, { mode: 0o700 })
    return new MachineTraces(dataDir)
  }

  private constructor(dataDir: string) {
    this.#dataDir = dataDir
    this.stateDir = ociOptions({ dataDir }).stateDir
    this.#gatewayState = join(dataDir, 'gateway')
    this.#watcher = watch(this.stateDir, (_event, name) => {
      if (name?.startsWith('sbx_') === true) this.#ids.add(name)
    })
  }

  /** Ids of all sandboxes that were ever made here. */
  get sandboxIds(): readonly string[] {
    return [...this.#ids]
  }

  /** One line for each thing that sandboxes of this Berth have on the machine, running ones included. */
  ofSandboxes(): Promise<string[]> {
    return leftoversOf(this.stateDir, this.sandboxIds)
  }

  /** Whether there is nothing of any sandbox. Looks closely only when it may be so: a look at all processes costs what they need. */
  async #isNone(): Promise<boolean> {
    if ((await readdir(this.stateDir)).some((name) => name.startsWith('sbx_'))) return false
    return (await this.ofSandboxes()).length === 0
  }

  /** Resolves when nothing of any sandbox is left; throws with what is. */
  async untilNone(signal: AbortSignal = AbortSignal.timeout(CLEAN_MS)): Promise<void> {
    try {
      await waitUntil('no sandbox is left', () => this.#isNone(), signal)
    } catch (error) {
      throw new Error(`of sandboxes there is still:\n${(await this.ofSandboxes()).join('\n')}`, { cause: error })
    }
  }

  /** Resolves when nothing of that sandbox is left. */
  async untilGone(sandboxId: string): Promise<void> {
    await waitUntil(`nothing of ${sandboxId} is left`, async () => {
      return (await leftoversOf(this.stateDir, [sandboxId])).every((line) => !line.includes(sandboxId))
    })
  }

  /** The driver over the same state, as a second server would have it: to look at sandboxes or to end them from outside. */
  openDriver(): Promise<SandboxDriver> {
    return openOciDriver(ociOptions({ dataDir: this.#dataDir }))
  }

  /** undefined: it does not run. */
  async gateway(): Promise<GatewayHealth | undefined> {
    try {
      return await openGatewayClient(controlSocket(this.#gatewayState)).health()
    } catch (error) {
      if (isBerthError(error, 'unavailable')) return undefined
      throw error
    }
  }

  /** Ends the gateway at once; resolves when another one answers in its place. */
  async replaceGateway(): Promise<void> {
    const { pid } = await waitUntil('the gateway answers', () => this.gateway())
    process.kill(pid, 'SIGKILL')
    await waitUntil('another gateway answers', async () => {
      const other = await this.gateway()
      return other !== undefined && other.pid !== pid
    })
  }

  /** Ends whatever is left, no server being there to do it. */
  async clear(): Promise<void> {
    {
      await using driver = await this.openDriver()
      for (const { id } of await driver.list()) await driver.destroy(id)
    }
    // By their command line: one that is only just starting does not answer yet.
    await waitUntil('no gateway is left', async () => {
      const pids = await this.#gatewayPids()
      for (const pid of pids) kill(pid)
      return pids.length === 0
    })
  }

  async #gatewayPids(): Promise<number[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
    const found = await Promise.all(
      pids.map(async (pid) => {
        const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
        return line.split('\0').includes(this.#gatewayState) ? [Number(pid)] : []
      }),
    )
    return found.flat()
  }

  [Symbol.dispose](): void {
    this.#watcher.close()
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}
