/** Brings one sandbox to life, and opens its ways: the link to its runner, and the way to the model of each session that lives in it. */
import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { runnerEnv, type SessionRoute } from '@berth/protocol'
import { inside, type SandboxRef, type SandboxSpec } from '@berth/sandbox'
import type { SessionRow } from '../store/session-log.ts'
import { toGatewayBudget } from '../domain/budget.ts'
import type { ActorDeps } from './deps.ts'
import type { HeldSandbox } from './held-sandbox.ts'
import type { SandboxHost } from './sandbox-host.ts'
import { hasOtherServers, toMcpRoute } from './mcp-route.ts'
import { toEgressPolicy } from '../domain/networking.ts'
import { parseVaultIds } from '../domain/variables.ts'
import { egressCredential, egressSocket, environmentOf, modelSocket, toLimits } from './session-config.ts'
import { variablesOf } from './session-variables.ts'
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
    const epoch = (): Promise<number> => this.#deps.leases.epochOf(row.group_id)
    return this.make(host, { labels: { session: row.id }, environment: row.environment, epoch }, how)
  }

  /** For nobody yet, or a session. undefined: as above. */
  make(host: SandboxHost, what: Made, how: { origin: Origin; isNeeded(): boolean }): Promise<SandboxRef | undefined> {
    const { driver, gateway } = this.#deps
    return this.#turns.pass(async () => {
      if (!how.isNeeded()) return undefined
      const { certificate } = await gateway.authority()
      const spec = { ...this.#spec(host, what, await what.epoch()), authorities: [certificate] }
      return how.origin === 'new' ? driver.create(spec) : driver.restart(spec)
    })
  }

  async open(held: HeldSandbox, ref: SandboxRef): Promise<void> {
    // Who enters from here on opens its way by itself.
    held.ref = ref
    await Promise.all([held.host.listen(ref), ...[...held.sessions.values()].map((row) => this.#route(held, ref, row))])
  }

  /** One more session lives in the sandbox. Resolves when it has its way to the model, or will have it when the sandbox is there. */
  async enter(held: HeldSandbox, row: SessionRow): Promise<void> {
    held.sessions.set(row.id, row)
    try {
      if (held.ref !== undefined) await this.#route(held, held.ref, row)
    } catch (error) {
      held.sessions.delete(row.id)
      throw error
    }
  }

  /** The session that lives there may have been changed, and credentials may have come and gone: its ways follow. */
  async follow(held: HeldSandbox, row: SessionRow): Promise<void> {
    const before = held.sessions.get(row.id)
    if (before === undefined) return this.enter(held, row)
    if (held.ref !== undefined && (hasOtherServers(before, row) || (await this.#hasOtherPlaceholders(held, row)))) {
      await this.#route(held, held.ref, row)
    }
    held.sessions.set(row.id, row)
  }

  /** The session lives in it no more. */
  async leave(held: HeldSandbox, sessionId: string): Promise<void> {
    held.sessions.delete(sessionId)
    held.placeholders.delete(sessionId)
    await this.#unroute(sessionId)
  }

  /** Closes what `open` and `enter` have opened, once. */
  async close(held: HeldSandbox): Promise<void> {
    if (held.hasEnded) return
    await held.host[Symbol.asyncDispose]()
    await Promise.all([...held.sessions.keys()].map((sessionId) => this.#unroute(sessionId)))
    held.hasEnded = true
  }

  /** How long a sandbox may live, counted from now. */
  until(): Date {
    return new Date(this.#deps.clock.now().getTime() + LIFETIME_MS)
  }

  async #route(held: HeldSandbox, { runDir, uidBase }: SandboxRef, row: SessionRow): Promise<void> {
    if (runDir === undefined || uidBase === undefined) throw new Error('the sandbox is not on this machine')
    const { placeholders } = await variablesOf(this.#deps, row)
    const socket = modelSocket(runDir, row.uid)
    await mkdir(dirname(socket), { recursive: true, mode: 0o755 })
    const egress = {
      socket_path: egressSocket(runDir, row.uid),
      // Of the runner, which forwards to it: a session's own processes need the password.
      owner_uid: uidBase,
      credential: egressCredential(held.host.nonce, row.uid),
      policy: toEgressPolicy(environmentOf(row).networking),
      placeholders,
    }
    const vaults = parseVaultIds(row)
    await this.#deps.pushes.push(vaults)
    const mcp = toMcpRoute(row, { runDir, uidBase })
    const ways = { egress, vaults, ...(mcp && { mcp }) }
    await this.#openWay(row.id, { socket_path: socket, owner_uid: uidBase + row.uid, ...ways })
    held.placeholders.set(row.id, JSON.stringify(placeholders))
  }

  async #hasOtherPlaceholders(held: HeldSandbox, row: SessionRow): Promise<boolean> {
    if (parseVaultIds(row).length === 0) return false
    const { placeholders } = await variablesOf(this.#deps, row)
    return held.placeholders.get(row.id) !== JSON.stringify(placeholders)
  }

  /** With the budget as it is now: a change that comes meanwhile finds no route, and is made up for. */
  async #openWay(
    sessionId: string,
    place: Pick<SessionRoute, 'socket_path' | 'owner_uid' | 'egress' | 'mcp' | 'vaults'>,
  ): Promise<void> {
    const { gateway, store } = this.#deps
    const before = await store.findSession({ sessionId })
    if (before === undefined) return
    const { workspace_id, agent_id } = before
    const budget = toGatewayBudget(before)
    await gateway.route(sessionId, { workspace_id, agent_id, budget, ...place, models: null, server_tools: [] })
    const after = await store.findSession({ sessionId })
    const changed = after === undefined ? budget : toGatewayBudget(after)
    if (!isDeepStrictEqual(changed, budget)) await gateway.setBudget(sessionId, changed)
  }

  async #unroute(sessionId: string): Promise<void> {
    await this.#deps.gateway.unroute(sessionId).catch(() => undefined)
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
