/** Brings one sandbox to life for a session, and opens its ways: the link to its runner, the session's way to the model. */
import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { runnerEnv } from '@berth/protocol'
import { inside, type SandboxRef, type SandboxSpec } from '@berth/sandbox'
import type { SessionRow } from '../store/session-log.ts'
import type { ActorDeps } from './deps.ts'
import type { SandboxHost } from './sandbox-host.ts'
import { toEgressPolicy } from '../domain/networking.ts'
import { egressCredential, egressSocket, environmentOf, modelSocket, toLimits } from './session-config.ts'
import { Turnstile } from './turnstile.ts'

/** How long a sandbox lives without a server. */
const LIFETIME_MS = 60 * 60 * 1_000

/** A new sandbox, or one that was lost, on the disk that it left. */
export type Origin = 'new' | 'own_disk'

export class SandboxLaunch {
  readonly #deps: ActorDeps
  /** Making one keeps a processor busy: more at a time would only make each of them late. */
  readonly #turns = new Turnstile(Math.max(2, availableParallelism()))

  constructor(deps: ActorDeps) {
    this.#deps = deps
  }

  /** undefined: by the time that it was this one's turn, nobody needed it. */
  run(
    host: SandboxHost,
    row: SessionRow,
    how: { origin: Origin; isNeeded(): boolean },
  ): Promise<SandboxRef | undefined> {
    const { driver, leases } = this.#deps
    return this.#turns.pass(async () => {
      if (!how.isNeeded()) return undefined
      const spec = this.#spec(host, row, await leases.epoch(row.id))
      return how.origin === 'new' ? driver.create(spec) : driver.restart(spec)
    })
  }

  async open(host: SandboxHost, ref: SandboxRef, row: SessionRow): Promise<void> {
    const { runDir, uidBase } = ref
    if (runDir === undefined || uidBase === undefined) throw new Error('the sandbox is not on this machine')
    const socket = modelSocket(runDir, inside.firstUid)
    const routed = mkdir(dirname(socket), { recursive: true, mode: 0o755 }).then(() =>
      this.#deps.gateway.route(row.id, {
        workspace_id: row.workspace_id,
        socket_path: socket,
        owner_uid: uidBase + inside.firstUid,
        models: null,
        server_tools: [],
        egress: {
          socket_path: egressSocket(runDir, inside.firstUid),
          // Of the runner, which forwards to it: a session's own processes need the password.
          owner_uid: uidBase,
          credential: egressCredential(host.nonce, inside.firstUid),
          policy: toEgressPolicy(environmentOf(row).networking),
        },
      }),
    )
    await Promise.all([host.listen(ref), routed])
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

  #spec(host: SandboxHost, row: SessionRow, epoch: number): SandboxSpec {
    return {
      id: host.id,
      epoch,
      labels: { session: row.id },
      limits: toLimits(row),
      until: this.until(),
      env: {
        [runnerEnv.sandboxId]: host.id,
        [runnerEnv.link]: `unix:${inside.link}`,
        [runnerEnv.nonce]: host.nonce,
        [runnerEnv.claude]: inside.claude,
      },
      image: environmentOf(row).berth.image,
    }
  }
}
