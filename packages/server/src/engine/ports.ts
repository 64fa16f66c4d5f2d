/** Connections from outside to programs that listen in a session's sandbox. */
import type { Duplex } from 'node:stream'
import { BerthError } from '@berth/protocol'
import type { Store } from '../store/store.ts'
import { PortConnection } from './port-connection.ts'
import type { SandboxHost } from './sandbox-host.ts'
import type { Sandboxes } from './sandboxes.ts'

export interface PortKey {
  readonly workspaceId: string
  readonly sessionId: string
}

/** Half of the channels that a sandbox has: the others are for its files. */
const MAX_CONNECTIONS = 32

export class Ports {
  readonly #store: Store
  readonly #sandboxes: Sandboxes
  /** By sandbox. */
  readonly #open = new Map<string, number>()

  constructor(store: Store, sandboxes: Sandboxes) {
    this.#store = store
    this.#sandboxes = sandboxes
  }

  /** Id of the sandbox that the session has now. `conflict` when it has none, `not_found` when the session is not the workspace's. */
  async sandboxOf(key: PortKey): Promise<string> {
    return (await this.#host(key)).id
  }

  /**
   * One TCP connection to the port on the sandbox's loopback. It cannot be closed by halves: ending it closes it. That nobody listens is told
   * as the connection's error, `unavailable`; so is everything else that breaks it. `rate_limited` when the sandbox has too many.
   */
  async connect(key: PortKey & { readonly port: number }, signal: AbortSignal): Promise<Duplex> {
    const host = await this.#host(key)
    this.#count(host.id, 1)
    try {
      const channel = await host.channel({ type: 'port', port: key.port }, signal)
      const connection = new PortConnection(channel, key.port)
      return connection.once('close', () => this.#count(host.id, -1))
    } catch (error) {
      this.#count(host.id, -1)
      throw error
    }
  }

  async #host({ workspaceId, sessionId }: PortKey): Promise<SandboxHost> {
    const row = await this.#store.getSession({ workspaceId, id: sessionId })
    if (row.status === 'terminated') throw new BerthError('conflict', `session ${sessionId} is archived`)
    const host = row.sandbox_id === null ? undefined : this.#sandboxes.find(row.sandbox_id)
    if (host !== undefined) return host
    throw new BerthError('conflict', `session ${sessionId} has no sandbox now; send it a message first`)
  }

  #count(sandboxId: string, change: 1 | -1): void {
    const count = (this.#open.get(sandboxId) ?? 0) + change
    if (count > MAX_CONNECTIONS) {
      throw new BerthError('rate_limited', `the sandbox has ${MAX_CONNECTIONS} connections to its ports`)
    }
    if (count === 0) this.#open.delete(sandboxId)
    else this.#open.set(sandboxId, count)
  }
}
