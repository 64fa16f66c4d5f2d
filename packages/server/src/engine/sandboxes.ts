/**
 * Every sandbox of this server: made when a session needs one, found again after a restart, renewed while somebody lives in it, ended when it is
 * nobody's. The store says who lives where; the driver says what is there; `reconcile` makes them agree.
 */
import { randomBytes } from 'node:crypto'
import { BerthError, isBerthError, LINK_PROTOCOL } from '@berth/protocol'
import type { SandboxRef } from '@berth/sandbox'
import { OneAtATime } from '@berth/sandbox/oci/one-at-a-time'
import type { SessionRow } from '../store/session-log.ts'
import type { KnownSandbox } from '../store/sandboxes.ts'
import { Departures } from './departures.ts'
import { type ActorDeps, isoNow } from './deps.ts'
import { heldFromNow, type HeldSandbox } from './held-sandbox.ts'
import { destroyOrphans } from './orphans.ts'
import { SandboxHost, type SandboxOwner } from './sandbox-host.ts'
import { type Origin, SandboxLaunch } from './sandbox-launch.ts'
import { SandboxLosses } from './sandbox-losses.ts'
import { closeStrayRoutes } from './stray-routes.ts'
import type { SandboxesOptions } from './sandboxes-options.ts'
import type { WarmSandbox } from './warm-sandbox.ts'

interface Inhabitants {
  readonly groupId: string
  readonly rows: readonly SessionRow[]
}

export class Sandboxes implements AsyncDisposable {
  readonly #deps: ActorDeps
  readonly #options: SandboxesOptions
  readonly #held = new Map<string, HeldSandbox>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #launches: SandboxLaunch
  readonly #losses: SandboxLosses
  readonly #departures: Departures
  /** By group: its sessions find, make and take up their sandbox one after the other. */
  readonly #turns = new OneAtATime()
  readonly #stopping = new AbortController()

  constructor(deps: ActorDeps, options: SandboxesOptions) {
    this.#deps = deps
    this.#options = options
    this.#launches = new SandboxLaunch(deps)
    const { signal: stopping } = this.#stopping
    const [held, launches] = [this.#held, this.#launches]
    this.#losses = new SandboxLosses(deps, {
      held,
      launches,
      stopping,
      lost: (loss) => options.lost(loss),
      release: (id) => this.release(id),
    })
    this.#departures = new Departures(deps, { findHost: (id) => this.find(id), stopping })
  }

  find(sandboxId: string): SandboxHost | undefined {
    return this.#held.get(sandboxId)?.host
  }

  /** Resolves when what follows from the sandbox's loss is done, where one is being dealt with. Never rejects. */
  async dealtWith(sandboxId: string): Promise<void> {
    await this.#held.get(sandboxId)?.ending?.catch(() => undefined)
  }

  /** The session's sandbox; one that is not up is being launched when this resolves. That it fails is told through `lost`. */
  async forSession(sessionId: string): Promise<SandboxHost> {
    const row = await this.#deps.store.findSession({ sessionId })
    if (row === undefined) throw new BerthError('not_found', `no session ${sessionId}`)
    return this.#turns.run(row.group_id, () => this.#forSession(sessionId))
  }

  /** The right to act for the group has passed to another server, and with it the sandbox: its connection is given up. */
  abandon(groupId: string): void {
    for (const { host } of [...this.#held.values()].filter((held) => held.groupId === groupId)) {
      this.#held.delete(host.id)
      this.#background(host[Symbol.asyncDispose]())
    }
  }

  /** Holds a sandbox that outlived the server before. One that did not is restarted when a session needs it, or forgotten. */
  async adopt({ id, groupId, ...sandbox }: KnownSandbox & { groupId: string }): Promise<void> {
    if (sandbox.state === 'lost') return
    const { store, driver, leases } = this.#deps
    const ref = await driver.get(id)
    const rows = await store.listSandboxSessions({ sandboxId: id })
    if (ref?.state === 'running') return this.#launches.open(this.#hold(id, sandbox.nonce, { groupId, rows }), ref)
    const files = this.#losses.canRestart(ref) ? 'kept' : 'gone'
    const epoch = await leases.epochOf(groupId)
    const isMaking = sandbox.state === 'starting' && rows.every((row) => row.link_received === 0)
    if (isMaking && (files === 'kept' || ref === undefined)) await store.takeBackInputs({ sandboxId: id, epoch })
    else {
      const why = 'the sandbox was lost: it was gone when the server started'
      await this.#options.lost({ groupId, sandboxId: id, files, why, isCounted: false })
    }
    if (files === 'gone') await this.release(id, epoch)
  }

  /** Holds the session's sandbox if it runs and nobody here holds it: another server did, until it lost its lease. */
  async takeUp(row: SessionRow): Promise<void> {
    if (row.sandbox_id === null || this.#held.has(row.sandbox_id)) return
    await this.#turns.run(row.group_id, () => this.#takeUp(row))
  }

  /** The session is over, and so is its sandbox, where that is named; otherwise others live there. */
  leaveSoon(sessionId: string, sandboxId: string | null): void {
    if (sandboxId === null) this.#background(this.#leave(sessionId))
    else this.releaseSoon(sandboxId)
  }

  /** Ends the sandbox and forgets it; without an epoch, one that belongs to nobody any more. Safe to repeat; what fails is done again by `reconcile`. */
  async release(sandboxId: string, epoch?: number): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held !== undefined) await this.#launches.close(held)
    await this.#deps.driver.destroy(sandboxId, epoch)
    this.#held.delete(sandboxId)
    await this.#deps.store.removeSandbox({ sandboxId, epoch })
  }

  /** The session lives elsewhere from now on: resolves when this one has no way to the model any more, which the next one takes over. */
  async putAway(sandboxId: string): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held !== undefined) await this.#launches.close(held)
    this.releaseSoon(sandboxId)
  }

  releaseSoon(sandboxId: string): void {
    this.#background(this.release(sandboxId))
  }

  /** Looks at every sandbox once: the lost are reported, the unowned destroyed, the owned renewed; ways out that nobody owns are closed. */
  async reconcile(): Promise<void> {
    const { store, driver } = this.#deps
    const known = new Map((await store.listSandboxes({})).map((sandbox) => [sandbox.id, sandbox]))
    const present = new Map((await driver.list()).map((ref) => [ref.id, ref]))
    await destroyOrphans(this.#deps, { present: present.values(), known })
    for (const { id, groupId, state, warmFor } of known.values()) {
      if (groupId === null && warmFor === null) await this.release(id)
      else if (groupId !== null) {
        const isGone = state === 'ready' && present.get(id)?.state !== 'running'
        await this.#unlessPassed(groupId, () => (isGone ? this.#losses.check(id) : this.#losses.lookAfter(id)))
      }
    }
    await closeStrayRoutes(this.#deps)
    this.#background(this.#departures.run())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#tasks)
    await Promise.all([...this.#held.values()].map(({ host }) => host[Symbol.asyncDispose]()))
  }

  async #forSession(sessionId: string): Promise<SandboxHost> {
    const { store, driver, clock, ids, leases } = this.#deps
    for (;;) {
      const epoch = await leases.epoch(sessionId)
      const row = await store.findSession({ sessionId })
      if (row === undefined) throw new BerthError('not_found', `no session ${sessionId}`)
      const held = row.sandbox_id === null ? undefined : this.#held.get(row.sandbox_id)
      if (held?.ending !== undefined) {
        await held.ending
        continue
      }
      if (held !== undefined) {
        await this.#launches.follow(held, row)
        return held.host
      }
      if (await this.#takeUp(row)) continue
      const warm = row.sandbox_id === null ? await this.#options.claim(row, epoch) : undefined
      if (warm !== undefined) return this.#takeOver(warm, row)
      const nonce = randomBytes(32).toString('base64url')
      const fresh = { sandboxId: row.sandbox_id ?? ids.next('sbx'), nonce }
      if (row.sandbox_id !== null) await store.restartSandbox({ epoch, ...fresh, now: isoNow(clock) })
      else {
        const assign = { sessionId, epoch, ...fresh, driver: driver.name, now: isoNow(clock) }
        // Others of its group live in one already.
        if ((await store.assignSandbox(assign)) !== fresh.sandboxId) continue
      }
      const rows = await store.listSandboxSessions(fresh)
      const made = this.#hold(fresh.sandboxId, nonce, { groupId: row.group_id, rows })
      this.#background(this.#launch(made, row, row.sandbox_id === null ? 'new' : 'own_disk'))
      return made.host
    }
  }

  async #leave(sessionId: string): Promise<void> {
    const held = [...this.#held.values()].find(({ sessions }) => sessions.has(sessionId))
    if (held !== undefined) await this.#launches.leave(held, sessionId)
    await this.#departures.run()
  }

  async #takeUp(row: SessionRow): Promise<boolean> {
    const { store, driver, leases } = this.#deps
    if (row.sandbox_id === null || this.#held.has(row.sandbox_id)) return false
    await leases.epoch(row.id)
    const known = await store.findSandbox({ sandboxId: row.sandbox_id })
    if (known === undefined || known.state === 'lost') return false
    if ((await driver.get(known.id))?.state !== 'running') return false
    await this.adopt({ ...known, groupId: row.group_id })
    return true
  }

  /** One that waited for a session has it: all it lacks is the way to the model. */
  async #takeOver({ host: warm, ref, parked, reports }: WarmSandbox, row: SessionRow): Promise<SandboxHost> {
    const rows = [{ ...row, name_inside: parked?.name ?? row.name_inside }]
    const held = this.#hold(warm.id, warm.nonce, { groupId: row.group_id, rows }, warm)
    for (const item of reports) this.#options.receive({ ...item, session_id: row.id }, held.host)
    await this.#launch(held, row, ref)
    return held.host
  }

  #hold(id: string, nonce: string, { groupId, rows }: Inhabitants, warm?: SandboxHost): HeldSandbox {
    const { store, leases, logger } = this.#deps
    const owner: SandboxOwner = {
      epoch: () => leases.epochOf(groupId),
      superseded: () => this.#background(leases.checkGroup(groupId)),
      progress: () => store.findLinkProgress({ sandboxId: id }),
      receive: (item, from) => !held.sessions.has(item.session_id) || this.#options.receive(item, from),
      connected: () => {
        held.silentSince = undefined
        held.hasConnected = true
      },
      disconnected: () => {
        // One that comes again and again and is never welcomed hangs, too.
        held.silentSince ??= performance.now()
        for (const sessionId of held.sessions.keys()) this.#options.interrupted(sessionId)
        this.#background(this.#losses.watchEnd(held))
      },
      mismatched: (protocol) => {
        const why = `was lost: its runner speaks version ${protocol} of the link, this server version ${LINK_PROTOCOL}`
        this.#background(this.#losses.lose(id, why))
      },
    }
    const host = warm ?? new SandboxHost({ id, nonce, logger: logger.child({ sandbox_id: id }), ...owner })
    for (const row of rows) host.names.set(row.id, row.name_inside)
    const held = heldFromNow(host, groupId, rows)
    this.#held.set(id, held)
    warm?.passTo(owner)
    return held
  }

  async #launch(held: HeldSandbox, row: SessionRow, origin: Origin | SandboxRef): Promise<void> {
    const { host, groupId } = held
    const isHeld = (): boolean => this.#held.get(host.id)?.host === host
    const isNeeded = (): boolean => !this.#stopping.signal.aborted && isHeld()
    try {
      const ref = typeof origin === 'string' ? await this.#launches.run(host, row, { origin, isNeeded }) : origin
      // Otherwise nobody needs it by now, or the next server will make it.
      if (ref !== undefined) await this.#launches.open(held, ref)
    } catch (error) {
      this.#deps.logger.error({ err: error, sandbox_id: host.id, session_id: row.id }, 'sandbox could not be launched')
      if (isBerthError(error, 'conflict')) await this.#deps.leases.checkGroup(groupId)
      // Then it is another server's, or nobody's.
      if (!isHeld()) return
      const how = origin === 'new' ? 'could not be made' : 'was lost: it could not be started again on its own disk'
      const why = `${how}: ${error instanceof Error ? error.message : String(error)}`
      await this.#losses.lose(host.id, why, { isCounted: origin === 'own_disk' })
    }
  }

  /** A refusal may mean that the lease has passed to another server: then the rest is that one's. */
  async #unlessPassed(groupId: string, task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      if (!isBerthError(error, 'conflict')) throw error
      await this.#deps.leases.checkGroup(groupId)
    }
  }

  #background(task: Promise<void>): void {
    const tracked = task
      .catch((error: unknown) => this.#deps.logger.error({ err: error }, 'sandbox task failed'))
      .finally(() => this.#tasks.delete(tracked))
    this.#tasks.add(tracked)
  }
}
