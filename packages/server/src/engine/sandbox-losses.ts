/** Whether the sandboxes that this server holds are still there, and what is done when one is not. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { SandboxRef } from '@berth/sandbox'
import type { ActorDeps } from './deps.ts'
import type { HeldSandbox, Loss } from './held-sandbox.ts'
import type { SandboxLaunch } from './sandbox-launch.ts'

const RENEW_EVERY_MS = 5 * 60 * 1_000
/** A runner that has not been heard of for this long, in a sandbox that runs, hangs. */
const HUNG_MS = 60_000
/** After its runner has hung up. Reconciliation sees what ends later. */
const LOOKS = 25
const LOOK_EVERY_MS = 200

export interface SandboxLossesOptions {
  readonly held: Map<string, HeldSandbox>
  readonly launches: SandboxLaunch
  readonly stopping: AbortSignal
  /** To be told to all who live in it. */
  readonly lost: (loss: Loss) => Promise<void>
  /** Ends what is left of it, and forgets it. */
  readonly release: (sandboxId: string) => Promise<void>
}

export class SandboxLosses {
  readonly #deps: ActorDeps
  readonly #options: SandboxLossesOptions

  constructor(deps: ActorDeps, options: SandboxLossesOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** The runner has hung up: is its sandbox still there? Its processes end one after the other, the runner first. */
  async watchEnd(held: HeldSandbox): Promise<void> {
    const { stopping, held: all } = this.#options
    for (let looks = 0; looks < LOOKS; looks++) {
      await this.check(held.host.id)
      await sleep(LOOK_EVERY_MS, undefined, { signal: stopping }).catch(() => undefined)
      if (stopping.aborted || held.silentSince === undefined || all.get(held.host.id) !== held) return
    }
  }

  async check(sandboxId: string): Promise<void> {
    const held = this.#options.held.get(sandboxId)
    const ref = await this.#deps.driver.get(sandboxId)
    // Released meanwhile: then it ended because it was told to.
    if (held === undefined || this.#options.held.get(sandboxId) !== held || ref?.state === 'running') return
    await this.lose(sandboxId, 'was lost: its processes have ended')
  }

  /** Lets one that answers live on. */
  async lookAfter(sandboxId: string): Promise<void> {
    const { driver, leases } = this.#deps
    const held = this.#options.held.get(sandboxId)
    if (held === undefined) return
    if (held.silentSince !== undefined && performance.now() - held.silentSince > HUNG_MS) {
      return this.lose(sandboxId, 'was lost: its runner did not answer')
    }
    const now = performance.now()
    if (now - held.renewedAt < RENEW_EVERY_MS) return
    await driver.renew(sandboxId, this.#options.launches.until(), await leases.epochOf(held.groupId))
    held.renewedAt = now
  }

  /** Once for every loss; a failure is tried again with the next look at the sandbox. */
  async lose(sandboxId: string, why: string, { isCounted = false } = {}): Promise<void> {
    const held = this.#options.held.get(sandboxId)
    if (held === undefined || held.ending !== undefined) return
    held.ending = this.#dealWithLoss(held, { why: `the sandbox ${why}`, isCounted })
    try {
      await held.ending
    } finally {
      held.ending = undefined
    }
  }

  /** Is there a disk to start it on again? */
  canRestart(ref: SandboxRef | undefined): boolean {
    return this.#deps.driver.capabilities.restart && ref?.state === 'gone'
  }

  /**
   * The sandbox is gone, or as good as gone. What is left of it ends before its sessions hear of it: the next one takes over their ways to the
   * model. A disk that can be used again is kept for when one of them needs a sandbox.
   */
  async #dealWithLoss(held: HeldSandbox, loss: { why: string; isCounted: boolean }): Promise<void> {
    const { driver, leases } = this.#deps
    const { held: all, launches, lost, release } = this.#options
    const { host, groupId } = held
    const { id } = host
    const epoch = await leases.epochUnlessDeleted(groupId)
    // One that was never heard of since its launch would do the same again.
    const files = held.hasConnected && this.canRestart(await driver.get(id)) ? 'kept' : 'gone'
    await launches.close(held)
    if (files === 'gone') await driver.destroy(id, epoch)
    await lost({ groupId, sandboxId: id, files, ...loss })
    if (files === 'gone') await release(id)
    else all.delete(id)
  }
}
