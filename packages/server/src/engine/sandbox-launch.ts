/** Brings one sandbox to life for a session, and opens its ways: the link to its runner, the session's way to the model. */
import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { runnerEnv } from '@berth/protocol'
import { inside, type SandboxRef, type SandboxSpec } from '@berth/sandbox'
import type { SessionRow } from '../store/session-log.ts'
import type { ActorDeps } from './deps.ts'
import type { SandboxHost } from './sandbox-host.ts'
import { environmentOf, modelSocket, toLimits } from './session-config.ts'
import { Turnstile } from './turnstile.ts'

/** How long a sandbox lives without a server. */
const LIFETIME_MS = 60 * 60 * 1_000

/** A new sandbox, or one that was lost, on the disk that it left. */
export type Origin = 'new' | 'own_disk'

/** What is to be made. */
interface Made {
  readonly labels: Readonly<Record<string, string>>
  /** Configuration of the environment, JSON. */
  readonly environment: string
  /** Under which it is made. */
  epoch(): Promise<number>
}

export class SandboxLaunch {
  readonly #deps: ActorDeps
  /** Making one keeps a processor busy: more at a time would only make each of them late. */
  readonly #turns = new Turnstile(Math.max(2, availableParallelism()))

  constructor(deps: ActorDeps) {
    this.#deps = deps
  }

  /** For a session. undefined: by the time that it was this one's turn, nobody needed it. */
  run(
    host: SandboxHost,
    row: SessionRow,
    how: { origin: Origin; isNeeded(): boolean },
  ): Promise<SandboxRef | undefined> {
    const epoch = (): Promise<number> => this.#deps.leases.epoch(row.id)
    return this.make(host, { labels: { session: row.id }, environment: row.environment, epoch }, how)
  }

  /** For nobody yet, or a session. undefined: as above. */
  make(host: SandboxHost, what: Made, how: { origin: Origin; isNeeded(): boolean }): Promise<SandboxRef | undefined> {
    const { driver } = this.#deps
    return this.#turns.pass(async () => {
      if (!how.isNeeded()) return undefined
      const spec = this.#spec(host, what, await what.epoch())
      return how.origin === 'new' ? driver.create(spec) : driver.restart(spec)
    })
  }

  async open(host: SandboxHost, ref: SandboxRef, row: SessionRow): Promise<void> {
    await Promise.all([host.listen(ref), this.#openModel(ref, row)])
  }

  /** The session's way to the model. */
  async #openModel(ref: SandboxRef, row: SessionRow): Promise<void> {
    const { runDir, uidBase } = ref
    if (runDir === undefined || uidBase === undefined) throw new Error('the sandbox is not on this machine')
    const socket = modelSocket(runDir, inside.firstUid)
    await mkdir(dirname(socket), { recursive: true, mode: 0o755 })
    await this.#deps.gateway.route(row.id, {
      workspace_id: row.workspace_id,
      socket_path: socket,
      owner_uid: uidBase + inside.firstUid,
      models: null,
      server_tools: [],
    })
  }

  /** Closes what `open` has opened. */
  async close(host: SandboxHost, sessionId: string): Promise<void> {
    await host[Symbol.asyncDispose]()
    await this.#deps.gateway.unroute(sessionId).catch(() => undefined)
  }

  /** How long a sandbox may live, counted from now. */
  until(): Date {
    return new Date(this.#deps.clock.now().getTime() + LIFETIME_MS)
  }

  #spec(host: SandboxHost, what: Made, epoch: number): SandboxSpec {
    return {
      id: host.id,
      epoch,
      labels: what.labels,
      limits: toLimits(what),
      until: this.until(),
      env: {
        [runnerEnv.sandboxId]: host.id,
        [runnerEnv.link]: `unix:${inside.link}`,
        [runnerEnv.nonce]: host.nonce,
        [runnerEnv.claude]: inside.claude,
      },
      image: environmentOf(what).berth.image,
    }
  }
}
