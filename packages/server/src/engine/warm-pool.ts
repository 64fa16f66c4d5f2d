/**
 * Sandboxes that are kept started for sessions to come, as environments wish. One is claimed by one session, for good; what was claimed, died or is
 * not wanted any more is made anew, one at a time. None outlives its server. Whatever fails here, sessions start without.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { sharesOf } from '../domain/warm-pool.ts'
import type { SessionRow } from '../store/session-log.ts'
import type { WantedPool } from '../store/warm-sandboxes.ts'
import { type ActorDeps, isoNow } from './deps.ts'
import { SandboxLaunch } from './sandbox-launch.ts'
import { environmentOf } from './session-config.ts'
import { variablesOf } from './session-variables.ts'
import { kindOf, WarmSandbox } from './warm-sandbox.ts'

const LOOK_EVERY_MS = 10_000
/** The session that has just claimed one is to have the processor first. */
const REFILL_AFTER_MS = 1_000
const START_MS = 60_000
/** A runner that has not been heard of for this long, in a sandbox that runs, hangs. */
const HUNG_MS = 60_000
const RENEW_EVERY_MS = 5 * 60_000
/** What a CLI knows of the time and of its own version is no older than this. */
const MAX_AGE_MS = 60 * 60_000
const LONGEST_PAUSE_MS = 10 * 60_000

export interface WarmPoolOptions {
  /** How many there may be, of all environments. */
  readonly limit: number
}

export class WarmPool implements AsyncDisposable {
  readonly #deps: ActorDeps
  readonly #limit: number
  readonly #launches: SandboxLaunch
  readonly #members = new Map<string, WarmSandbox>()
  /** Nobody's, and not gone yet. */
  readonly #leftover = new Set<string>()
  /** By environment: what went wrong in a row. */
  readonly #failures = new Map<string, { count: number; until: number }>()
  readonly #stopping = new AbortController()
  #renewedAt = performance.now()
  #lookAt = 0
  #hurried = Promise.withResolvers<void>()
  #running: Promise<void> = Promise.resolve()

  constructor(deps: ActorDeps, { limit }: WarmPoolOptions) {
    this.#deps = deps
    this.#limit = limit
    this.#launches = new SandboxLaunch(deps)
  }

  /** Once what the server before left is adopted; its warm sandboxes are removed. */
  async start(): Promise<void> {
    for (const id of await this.#deps.store.listWarmSandboxes({})) this.#leftover.add(id)
    this.#running = this.#run()
  }

  /** Pools may have changed. */
  look(afterMs = 0): void {
    this.#lookAt = Math.min(this.#lookAt, performance.now() + afterMs)
    this.#hurried.resolve()
  }

  /**
   * A sandbox that waits for a session like this one, which has it from then on; the caller takes over what its runner reports. undefined: there is none, and
   * the session starts without. Never throws.
   */
  async claim(row: SessionRow, epoch: number): Promise<WarmSandbox | undefined> {
    const { store, driver, clock, logger } = this.#deps
    const member = this.#find(row, await this.#variables(row))
    const about = { session_id: row.id, sandbox_id: member?.id }
    if (member === undefined) {
      const { size } = environmentOf(row).berth.warm_pool
      if (size > 0) logger.info(about, 'no warm sandbox for the session: it starts cold')
      return undefined
    }
    member.isTaken = true
    const { id: sandboxId, parked, host } = member
    const now = isoNow(clock)
    const isClaimed = await store
      .claimWarmSandbox({ sessionId: row.id, epoch, sandboxId, driver: driver.name, nonce: host.nonce, now, parked })
      .catch((error: unknown) => logger.warn({ err: error, ...about }, 'a warm sandbox could not be claimed'))
    this.look(REFILL_AFTER_MS)
    if (isClaimed !== true) {
      void this.#drop(member, 'it could not be claimed')
      return undefined
    }
    this.#members.delete(sandboxId)
    this.#failures.delete(row.environment_id)
    logger.info(about, 'warm sandbox claimed')
    return member
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    this.#hurried.resolve()
    await this.#running
    const members = [...this.#members.values()].filter(({ isTaken }) => !isTaken)
    await Promise.all(members.map((member) => this.#drop(member, 'the server stops')))
    await this.#removeLeftover()
  }

  /** undefined: not known, now. */
  async #variables(row: SessionRow): Promise<Readonly<Record<string, string>> | undefined> {
    try {
      return (await variablesOf(this.#deps, row)).env
    } catch (error) {
      this.#deps.logger.warn({ err: error, session_id: row.id }, 'the variables of a session are not known')
      return undefined
    }
  }

  #find(row: SessionRow, variables: Readonly<Record<string, string>> | undefined): WarmSandbox | undefined {
    const { environment_id: environmentId, environment, agent } = row
    // One that shares its sandbox finds it with the others.
    if (row.sandbox_name !== null) return undefined
    const ready = [...this.#members.values()].filter((member) => member.isReady && !member.isTaken)
    if (ready.length === 0) return undefined
    const kinds = [kindOf({ environmentId, environment, agent: null })]
    // A CLI that waits begins a conversation; it cannot go on with one.
    const mayTakeCli = row.has_transcript === 0 && variables !== undefined
    if (mayTakeCli) kinds.push(kindOf({ environmentId, environment, agent }, variables))
    return ready.find(({ kind }) => kinds.includes(kind))
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      this.#hurried = Promise.withResolvers()
      const wait = this.#lookAt - performance.now()
      if (wait > 0) {
        const early = new AbortController()
        const stop = AbortSignal.any([signal, early.signal])
        await Promise.race([sleep(wait, undefined, { signal: stop }).catch(() => undefined), this.#hurried.promise])
        early.abort()
        continue
      }
      this.#lookAt = performance.now() + LOOK_EVERY_MS
      await this.#round().catch((error: unknown) => this.#deps.logger.error({ err: error }, 'warm pools were not kept'))
    }
  }

  async #round(): Promise<void> {
    await this.#removeLeftover()
    const pools = await this.#deps.store.listWantedPools({})
    const shares = sharesOf(
      pools.map(({ size }) => size),
      this.#limit,
    )
    await this.#dropUnwanted(new Map(pools.map((pool, index) => [kindOf(pool), shares[index] ?? 0])))
    await this.#renew()
    for (const [index, pool] of pools.entries()) {
      const missing = (shares[index] ?? 0) - this.#of(kindOf(pool)).length
      if (missing <= 0 || !this.#mayTry(pool.environmentId) || this.#stopping.signal.aborted) continue
      await this.#add(pool)
      // One of each, and then a fresh look at what is wanted.
      if (missing > 1) this.look()
    }
  }

  #of(kind: string): WarmSandbox[] {
    return [...this.#members.values()].filter((member) => member.kind === kind && !member.isTaken)
  }

  async #add(pool: WantedPool): Promise<void> {
    const changed = (): void => this.look()
    const member = new WarmSandbox(pool, { deps: this.#deps, launches: this.#launches, changed })
    this.#members.set(member.id, member)
    try {
      await member.start(AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(START_MS)]))
      const about = { sandbox_id: member.id, environment_id: pool.environmentId }
      this.#deps.logger.info(about, 'warm sandbox ready')
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      await this.#fail(member, error instanceof Error ? error.message : String(error))
    }
  }

  async #dropUnwanted(wanted: ReadonlyMap<string, number>): Promise<void> {
    const kept = new Map<string, number>()
    for (const member of [...this.#members.values()].filter(({ isTaken }) => !isTaken)) {
      const fault = member.fault ?? (await this.#end(member))
      // It may have been claimed meanwhile.
      if (member.isTaken) continue
      const count = kept.get(member.kind) ?? 0
      if (fault !== undefined) await this.#fail(member, fault)
      else if (count >= (wanted.get(member.kind) ?? 0)) await this.#drop(member, 'it is not wanted any more')
      else if (performance.now() - member.bornAt > MAX_AGE_MS) await this.#drop(member, 'it is old')
      else kept.set(member.kind, count + 1)
    }
  }

  /** Has it ended without a word? */
  async #end({ id, silentSince }: WarmSandbox): Promise<string | undefined> {
    if (silentSince === undefined) return undefined
    if ((await this.#deps.driver.get(id))?.state !== 'running') return 'its processes have ended'
    if (performance.now() - silentSince > HUNG_MS) return 'its runner does not answer'
    this.look(REFILL_AFTER_MS)
    return undefined
  }

  async #renew(): Promise<void> {
    if (performance.now() - this.#renewedAt < RENEW_EVERY_MS) return
    this.#renewedAt = performance.now()
    for (const member of [...this.#members.values()].filter((one) => one.isReady && !one.isTaken)) {
      await member.renew(this.#launches.until()).catch((error: unknown) => this.#fail(member, String(error)))
    }
  }

  async #fail(member: WarmSandbox, why: string): Promise<void> {
    const { environmentId } = member.pool
    const count = (this.#failures.get(environmentId)?.count ?? 0) + 1
    const pause = count < 2 ? 0 : Math.min(LOOK_EVERY_MS * 2 ** (count - 2), LONGEST_PAUSE_MS)
    this.#failures.set(environmentId, { count, until: performance.now() + pause })
    this.#deps.logger.warn({ sandbox_id: member.id, environment_id: environmentId, failures: count, why }, 'warm pool')
    await this.#drop(member, why)
  }

  #mayTry(environmentId: string): boolean {
    const failed = this.#failures.get(environmentId)
    if (failed === undefined) return true
    // Long ago: what was wrong is right, or starts from the beginning.
    if (performance.now() - failed.until > LONGEST_PAUSE_MS) this.#failures.delete(environmentId)
    return performance.now() >= failed.until
  }

  async #drop(member: WarmSandbox, why: string): Promise<void> {
    member.isTaken = true
    this.#deps.logger.info({ sandbox_id: member.id, why }, 'warm sandbox removed')
    await member.host[Symbol.asyncDispose]()
    this.#members.delete(member.id)
    this.#leftover.add(member.id)
    await this.#remove(member.id)
  }

  async #removeLeftover(): Promise<void> {
    await Promise.all([...this.#leftover].map((id) => this.#remove(id)))
  }

  /** What fails is done again with the next look. */
  async #remove(sandboxId: string): Promise<void> {
    try {
      await this.#deps.driver.destroy(sandboxId)
      await this.#deps.store.removeSandbox({ sandboxId, epoch: undefined })
      this.#leftover.delete(sandboxId)
    } catch (error) {
      this.#deps.logger.error({ err: error, sandbox_id: sandboxId }, 'a warm sandbox could not be removed')
    }
  }
}
