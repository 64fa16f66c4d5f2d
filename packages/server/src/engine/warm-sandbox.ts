/** One sandbox that waits for a session: its runner is connected and, where it is for an agent, a CLI has started in it. */
import { randomBytes } from 'node:crypto'
import type { SessionConfig } from '@berth/protocol'
import { inside, type SandboxRef } from '@berth/sandbox'
import { sandboxKind } from '../domain/warm-pool.ts'
import type { WantedPool } from '../store/warm-sandboxes.ts'
import { type ActorDeps, isoNow } from './deps.ts'
import type { RunnerItem } from './runner-connection.ts'
import { SandboxHost, type SandboxOwner } from './sandbox-host.ts'
import type { SandboxLaunch } from './sandbox-launch.ts'
import { environmentOf, toSessionConfig } from './session-config.ts'

/** A session's first lease has this epoch or a later one. */
const EPOCH = 1
/** A CLI that waits says that it has started, and little else. */
const MAX_REPORTS = 64
/** One that waits has the whole of its sandbox. */
const ALONE = { uid: inside.firstUid, subdir: '' }

export interface WarmDeps {
  readonly deps: ActorDeps
  readonly launches: SandboxLaunch
  /** It is not what it was. */
  changed(): void
}

/** The conversation that a waiting CLI was started for. */
export interface Parked {
  /** What the sandbox calls the session. */
  readonly name: string
  readonly config: SessionConfig
}

export class WarmSandbox {
  readonly id: string
  readonly pool: WantedPool
  /** See `kindOf`. */
  readonly kind: string
  readonly parked: Parked | null
  readonly host: SandboxHost
  readonly bornAt = performance.now()
  /** A session is about to have it. */
  isTaken = false
  readonly #with: WarmDeps
  #ref: SandboxRef | undefined
  /** Not acknowledged: the runner keeps them until there is a session in whose log they are. */
  #reports: RunnerItem[] = []
  #hasStarted = false
  /** On the clock that never goes back; undefined: connected. */
  #silentSince: number | undefined = performance.now()
  #fault: string | undefined
  #settled = Promise.withResolvers<void>()

  constructor(pool: WantedPool, given: WarmDeps) {
    const { ids, logger } = given.deps
    this.id = ids.next('sbx')
    this.pool = pool
    this.kind = kindOf(pool)
    this.#with = given
    const nonce = randomBytes(32).toString('base64url')
    const { agent } = pool
    this.parked = agent === null ? null : { name: this.id, config: configOf({ ...pool, agent }, this.id, nonce) }
    this.host = new SandboxHost({ id: this.id, nonce, logger: logger.child({ sandbox_id: this.id }), ...this.#owner() })
  }

  get isReady(): boolean {
    const hasCli = this.parked === null || this.#hasStarted
    return hasCli && this.#silentSince === undefined && this.#fault === undefined && this.#ref !== undefined
  }

  /** Why it is of no use; undefined: it is, or will be. */
  get fault(): string | undefined {
    return this.#fault
  }

  get silentSince(): number | undefined {
    return this.#silentSince
  }

  get ref(): SandboxRef {
    if (this.#ref === undefined) throw new TypeError(`sandbox ${this.id} was not made`)
    return this.#ref
  }

  /** Makes it. Resolves when it is ready; rejects when it cannot be or the signal aborts. What there is of it is then to be removed. */
  async start(signal: AbortSignal): Promise<void> {
    const { deps, launches } = this.#with
    const { environmentId, workspaceId, environment } = this.pool
    const { nonce } = this.host
    const place = { sandboxId: this.id, driver: deps.driver.name, nonce, now: isoNow(deps.clock) }
    await deps.store.addWarmSandbox({ ...place, environmentId, workspaceId })
    const what = { labels: { environment: environmentId }, environment, epoch: () => Promise.resolve(EPOCH) }
    const ref = await launches.make(this.host, what, { origin: 'new', isNeeded: () => !signal.aborted })
    signal.throwIfAborted()
    this.#ref = ref
    if (ref !== undefined) await this.host.listen(ref)
    const abort = (): void => this.#settled.reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      await this.#settled.promise
    } finally {
      signal.removeEventListener('abort', abort)
    }
    if (this.#fault !== undefined) throw new Error(this.#fault)
  }

  /** Lets it live until then. */
  renew(until: Date): Promise<void> {
    return this.#with.deps.driver.renew(this.id, until, EPOCH)
  }

  /** What its runner has reported on this connection. It is acknowledged by the session whose it becomes. */
  get reports(): readonly RunnerItem[] {
    return this.#reports
  }

  #owner(): SandboxOwner {
    return {
      epoch: () => Promise.resolve(EPOCH),
      progress: () => Promise.resolve(this.#progress()),
      receive: (item) => {
        this.#receive(item)
        return true
      },
      connected: () => {
        this.#silentSince = undefined
        this.#settleIfReady()
      },
      disconnected: () => {
        this.#silentSince ??= performance.now()
        // The runner says all of it again.
        this.#reports = []
        this.#hasStarted = false
        this.#with.changed()
      },
      superseded: () => this.#spoil('its runner has met another server'),
      mismatched: (protocol) => this.#spoil(`its runner speaks version ${protocol} of the link`),
    }
  }

  #progress(): Awaited<ReturnType<SandboxOwner['progress']>> {
    if (this.parked === null) return []
    const { name, config } = this.parked
    const body = { type: 'open' as const, config, transcripts: {}, seen_tools: [] }
    return [{ sessionId: name, received: 0, commands: [{ seq: 1, body }] }]
  }

  #receive(item: RunnerItem): void {
    if (item.type === 'delta') return
    if (this.#reports.length === MAX_REPORTS) return this.#spoil('it reports too much')
    this.#reports.push(item)
    const { body } = item
    if (body.type === 'exited') return this.#spoil(`its CLI has ended: ${body.detail}`)
    if (body.type === 'refused') return this.#spoil(`its runner has refused ${body.command}: ${body.detail}`)
    if (body.type === 'started') this.#hasStarted = true
    this.#settleIfReady()
  }

  #settleIfReady(): void {
    if (this.isReady) this.#settled.resolve()
  }

  #spoil(fault: string): void {
    this.#fault ??= fault
    this.#settled.resolve()
    this.#with.changed()
  }
}

/**
 * Equal for a sandbox and a session that it is good for: the same environment, sandboxes made alike and, where there is a CLI, one that is told what
 * the session's would be: a session with variables of its vaults finds none. A new version of the agent is another kind, unless it would be told the same.
 */
export function kindOf(
  of: Pick<WantedPool, 'environmentId' | 'environment' | 'agent'>,
  variables: Readonly<Record<string, string>> = {},
): string {
  const { environmentId, environment, agent } = of
  const told = agent === null ? null : toSessionConfig({ ...ALONE, name_inside: '', environment, agent }, '', variables)
  return JSON.stringify([environmentId, sandboxKind(environmentOf(of)), told])
}

function configOf(of: WantedPool & { agent: string }, name: string, nonce: string): SessionConfig {
  const { environment, agent } = of
  const config = toSessionConfig({ ...ALONE, name_inside: name, environment, agent }, nonce)
  return { ...config, sdk_session_id: crypto.randomUUID(), resume: false }
}
