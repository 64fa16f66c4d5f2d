/**
 * Every sandbox of this server: made when a session needs one, found again after a restart, renewed while it belongs to a session, ended
 * when it belongs to nobody. The store says who owns what; the driver says what is there; `reconcile` makes them agree.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { BerthError, isBerthError, LINK_PROTOCOL } from '@berth/protocol'
import type { SandboxRef } from '@berth/sandbox'
import type { SessionRow } from '../store/session-log.ts'
import type { KnownSandbox } from '../store/sandboxes.ts'
import { type ActorDeps, isoNow } from './deps.ts'
import { heldFromNow, type HeldSandbox, type Loss } from './held-sandbox.ts'
import type { RunnerItem } from './runner-connection.ts'
import { SandboxHost } from './sandbox-host.ts'
import { type Origin, SandboxLaunch } from './sandbox-launch.ts'

const RENEW_EVERY_MS = 5 * 60 * 1_000
/** A runner that has not been heard of for this long, in a sandbox that runs, hangs. */
const HUNG_MS = 60_000
/** After its runner has hung up. Reconciliation sees what ends later. */
const LOOKS = 25
const LOOK_EVERY_MS = 200

export interface SandboxesOptions {
  receive(item: RunnerItem, host: SandboxHost): boolean
  /** The session's sandbox could not be made, or is gone. */
  lost(sessionId: string, loss: Loss): Promise<void>
  /** The runner's connection broke: stream events may have been lost. */
  interrupted(sessionId: string): void
}

export class Sandboxes implements AsyncDisposable {
  readonly #deps: ActorDeps
  readonly #options: SandboxesOptions
  readonly #held = new Map<string, HeldSandbox>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #launches: SandboxLaunch
  readonly #stopping = new AbortController()

  constructor(deps: ActorDeps, options: SandboxesOptions) {
    this.#deps = deps
    this.#options = options
    this.#launches = new SandboxLaunch(deps)
  }

  find(sandboxId: string): SandboxHost | undefined {
    return this.#held.get(sandboxId)?.host
  }

  /** The session's sandbox; one that is not up is being launched when this resolves. That it fails is told through `lost`. */
  async forSession(sessionId: string): Promise<SandboxHost> {
    const { store, driver, clock, ids, leases } = this.#deps
    for (;;) {
      const epoch = await leases.epoch(sessionId)
      const row = await store.findSession({ sessionId })
      if (row === undefined) throw new BerthError('not_found', `no session ${sessionId}`)
      const held = row.sandbox_id === null ? undefined : this.#held.get(row.sandbox_id)
      if (held !== undefined && held.ending === undefined) return held.host
      if (held !== undefined) {
        await held.ending
        continue
      }
      if (await this.takeUp(row)) continue
      const nonce = randomBytes(32).toString('base64url')
      const id = row.sandbox_id ?? ids.next('sbx')
      if (row.sandbox_id !== null)
        await store.restartSandbox({ sessionId, epoch, sandboxId: id, nonce, now: isoNow(clock) })
      else {
        const fresh = { sandboxId: id, driver: driver.name, nonce, now: isoNow(clock) }
        await store.assignSandbox({ sessionId, epoch, ...fresh })
      }
      const host = this.#hold(id, nonce, sessionId)
      this.#background(this.#launch(host, row, row.sandbox_id === null ? 'new' : 'own_disk'))
      return host
    }
  }

  /** The right to act for the session has passed to another server, and with it the sandbox: its connection is given up. */
  abandon(sessionId: string): void {
    for (const { host } of [...this.#held.values()].filter((held) => held.sessionId === sessionId)) {
      this.#held.delete(host.id)
      this.#background(host[Symbol.asyncDispose]())
    }
  }

  /** Holds a sandbox that outlived the server before. One that did not is restarted when its session needs it, or forgotten. */
  async adopt(sandbox: KnownSandbox & { sessionId: string }, row: SessionRow): Promise<void> {
    const { id, sessionId } = sandbox
    if (sandbox.state === 'lost') return
    const ref = await this.#deps.driver.get(id)
    if (ref?.state === 'running') {
      return this.#launches.open(this.#hold(id, sandbox.nonce, sessionId), ref, row)
    }
    const files = this.#canRestart(ref) ? 'kept' : 'gone'
    const epoch = await this.#deps.leases.epoch(sessionId)
    const isMaking = sandbox.state === 'starting' && row.link_received === 0
    if (isMaking && (files === 'kept' || ref === undefined)) await this.#deps.store.takeBackInputs({ sessionId, epoch })
    else {
      const why = 'the sandbox was lost: it was gone when the server started'
      await this.#options.lost(sessionId, { sandboxId: id, files, why, isCounted: false })
    }
    if (files === 'gone') await this.release(id, epoch)
  }

  /** Holds the session's sandbox if it runs and nobody here holds it: another server did, until it lost its lease. */
  async takeUp(row: SessionRow): Promise<boolean> {
    const { store, driver, leases } = this.#deps
    if (row.sandbox_id === null || this.#held.has(row.sandbox_id)) return false
    await leases.epoch(row.id)
    const known = await store.findSandbox({ sandboxId: row.sandbox_id })
    if (known === undefined || known.state === 'lost') return false
    if ((await driver.get(known.id))?.state !== 'running') return false
    await this.adopt({ ...known, sessionId: row.id }, row)
    return true
  }

  /** Ends the sandbox and forgets it; without an epoch, one that belongs to nobody any more. Safe to repeat; what fails is done again by `reconcile`. */
  async release(sandboxId: string, epoch?: number): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held !== undefined) await this.#close(held)
    await this.#deps.driver.destroy(sandboxId, epoch)
    this.#held.delete(sandboxId)
    await this.#deps.store.removeSandbox({ sandboxId, epoch })
  }

  /** The session lives elsewhere from now on: resolves when this one has no way to the model any more, which the next one takes over. */
  async putAway(sandboxId: string): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held !== undefined) await this.#close(held)
    this.releaseSoon(sandboxId)
  }

  releaseSoon(sandboxId: string): void {
    this.#background(this.release(sandboxId))
  }

  /** Looks at every sandbox once: the lost are reported, the unowned destroyed, the owned renewed. */
  async reconcile(): Promise<void> {
    const { store, driver, logger } = this.#deps
    const known = new Map((await store.listSandboxes({})).map((sandbox) => [sandbox.id, sandbox]))
    const present = new Map((await driver.list()).map((ref) => [ref.id, ref]))
    for (const ref of present.values()) {
      // A sandbox is in the store before it is made: what is not in the store by now is nobody's.
      if (known.has(ref.id) || (await store.findSandbox({ sandboxId: ref.id })) !== undefined) continue
      logger.warn({ sandbox_id: ref.id }, 'destroying an orphan sandbox')
      await driver.destroy(ref.id)
    }
    for (const { id, sessionId, state } of known.values()) {
      if (sessionId === null) await this.release(id)
      else {
        const isGone = state === 'ready' && present.get(id)?.state !== 'running'
        await this.#unlessPassed(sessionId, () => (isGone ? this.#check(id) : this.#lookAfter(id)))
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#tasks)
    await Promise.all([...this.#held.values()].map(({ host }) => host[Symbol.asyncDispose]()))
  }

  #hold(id: string, nonce: string, sessionId: string): SandboxHost {
    const { store, leases, logger } = this.#deps
    const host = new SandboxHost({
      id,
      nonce,
      logger: logger.child({ sandbox_id: id }),
      epoch: () => leases.epoch(sessionId),
      superseded: () => this.#background(leases.check(sessionId)),
      progress: () => store.findLinkProgress({ sandboxId: id }),
      receive: (item, from) => this.#options.receive(item, from),
      connected: () => {
        held.silentSince = undefined
        held.hasConnected = true
      },
      disconnected: () => {
        // One that comes again and again and is never welcomed hangs, too.
        held.silentSince ??= performance.now()
        this.#options.interrupted(sessionId)
        this.#background(this.#watchEnd(held))
      },
      mismatched: (protocol) => {
        const why = `was lost: its runner speaks version ${protocol} of the link, this server version ${LINK_PROTOCOL}`
        this.#background(this.#lose(id, why))
      },
    })
    const held = heldFromNow(host, sessionId)
    this.#held.set(id, held)
    return host
  }

  async #launch(host: SandboxHost, row: SessionRow, origin: Origin): Promise<void> {
    const isHeld = (): boolean => this.#held.get(host.id)?.host === host
    const isNeeded = (): boolean => !this.#stopping.signal.aborted && isHeld()
    try {
      const ref = await this.#launches.run(host, row, { origin, isNeeded })
      // Otherwise nobody needs it by now, or the next server will make it.
      if (ref !== undefined) await this.#launches.open(host, ref, row)
    } catch (error) {
      this.#deps.logger.error({ err: error, sandbox_id: host.id, session_id: row.id }, 'sandbox could not be launched')
      if (isBerthError(error, 'conflict')) await this.#deps.leases.check(row.id)
      // Then it is another server's, or nobody's.
      if (!isHeld()) return
      const how = origin === 'new' ? 'could not be made' : 'was lost: it could not be started again on its own disk'
      const why = `${how}: ${error instanceof Error ? error.message : String(error)}`
      await this.#lose(host.id, why, { isCounted: origin === 'own_disk' })
    }
  }

  /** The runner has hung up: is its sandbox still there? Its processes end one after the other, the runner first. */
  async #watchEnd(held: HeldSandbox): Promise<void> {
    for (let looks = 0; looks < LOOKS; looks++) {
      await this.#check(held.host.id)
      await sleep(LOOK_EVERY_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
      if (this.#stopping.signal.aborted || held.silentSince === undefined || this.#held.get(held.host.id) !== held)
        return
    }
  }

  async #check(sandboxId: string): Promise<void> {
    const held = this.#held.get(sandboxId)
    const ref = await this.#deps.driver.get(sandboxId)
    // Released meanwhile: then it ended because it was told to.
    if (held === undefined || this.#held.get(sandboxId) !== held || ref?.state === 'running') return
    await this.#lose(sandboxId, 'was lost: its processes have ended')
  }

  /** Once for every loss; a failure is tried again with the next look at the sandbox. */
  async #lose(sandboxId: string, why: string, { isCounted = false } = {}): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held === undefined || held.ending !== undefined) return
    held.ending = this.#dealWithLoss(held, { why: `the sandbox ${why}`, isCounted })
    try {
      await held.ending
    } finally {
      held.ending = undefined
    }
  }

  /**
   * The sandbox is gone, or as good as gone. What is left of it ends before the session hears of it: the next one takes over the session's
   * way to the model. A disk that can be used again is kept for when the session needs a sandbox.
   */
  async #dealWithLoss(held: HeldSandbox, loss: { why: string; isCounted: boolean }): Promise<void> {
    const { id } = held.host
    const epoch = await this.#deps.leases.epochUnlessDeleted(held.sessionId)
    // One that was never heard of since its launch would do the same again.
    const files = held.hasConnected && this.#canRestart(await this.#deps.driver.get(id)) ? 'kept' : 'gone'
    await this.#close(held)
    if (files === 'gone') await this.#deps.driver.destroy(id, epoch)
    await this.#options.lost(held.sessionId, { sandboxId: id, files, ...loss })
    if (files === 'gone') await this.release(id)
    else this.#held.delete(id)
  }

  #canRestart(ref: SandboxRef | undefined): boolean {
    return this.#deps.driver.capabilities.restart && ref?.state === 'gone'
  }

  async #close(held: HeldSandbox): Promise<void> {
    if (held.hasEnded) return
    await this.#launches.close(held.host, held.sessionId)
    held.hasEnded = true
  }

  /** A refusal may mean that the lease has passed to another server: then the rest is that one's. */
  async #unlessPassed(sessionId: string, task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      if (!isBerthError(error, 'conflict')) throw error
      await this.#deps.leases.check(sessionId)
    }
  }

  async #lookAfter(sandboxId: string): Promise<void> {
    const { driver, leases } = this.#deps
    const held = this.#held.get(sandboxId)
    if (held === undefined) return
    if (held.silentSince !== undefined && performance.now() - held.silentSince > HUNG_MS) {
      return this.#lose(sandboxId, 'was lost: its runner did not answer')
    }
    const now = performance.now()
    if (now - held.renewedAt < RENEW_EVERY_MS) return
    await driver.renew(sandboxId, this.#launches.until(), await leases.epoch(held.sessionId))
    held.renewedAt = now
  }

  #background(task: Promise<void>): void {
    const tracked = task
      .catch((error: unknown) => this.#deps.logger.error({ err: error }, 'sandbox task failed'))
      .finally(() => this.#tasks.delete(tracked))
    this.#tasks.add(tracked)
  }
}
