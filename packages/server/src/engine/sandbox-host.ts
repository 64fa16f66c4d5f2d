/** The server's hold on one sandbox: its link socket, the runner's present connection, its time to live. */
import type { Command } from '@berth/protocol'
import type { ChannelJob } from '@berth/protocol/channel'
import { inside, type SandboxRef } from '@berth/sandbox'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { LinkProgress } from '../store/sandboxes.ts'
import { RunnerConnection, type RunnerItem } from './runner-connection.ts'
import type { Channel } from './channel.ts'
import { Dials } from './dials.ts'
import { listenForRunner } from './runner-listener.ts'
import { SessionNames } from './session-names.ts'

const LINK_SOCKET = inside.link.slice(inside.run.length)

/** For whom a sandbox is held: a session, or nobody yet. */
export interface SandboxOwner {
  /** Of the session's lease. */
  epoch(): Promise<number>
  progress(): Promise<LinkProgress[]>
  receive(item: RunnerItem, host: SandboxHost): boolean
  /** The runner is connected, or connected again. */
  connected(host: SandboxHost): void
  /** The runner is connected no more; it may come back. */
  disconnected(host: SandboxHost): void
  /** The runner has met a server with a later lease. */
  superseded(): void
  /** The runner speaks another protocol, and will never be connected. */
  mismatched(protocol: number): void
}

export interface SandboxHostOptions extends SandboxOwner {
  readonly id: string
  readonly nonce: string
  readonly logger: Logger
}

export class SandboxHost implements AsyncDisposable {
  readonly id: string
  /** Of this launch of the sandbox: tells the host's frames from those of an earlier one. */
  readonly nonce: string
  /** Everything but its sandbox knows a session by its id. */
  readonly names = new SessionNames()
  readonly #logger: Logger
  #owner: SandboxOwner
  #listener: AsyncDisposable | undefined
  #connection: RunnerConnection | undefined
  readonly #dials: Dials
  #isConnected = false
  #isClosed = false
  readonly #acked = new Map<string, number>()

  constructor(options: SandboxHostOptions) {
    this.id = options.id
    this.nonce = options.nonce
    this.#logger = options.logger
    this.#owner = options
    this.#dials = new Dials(options.nonce)
  }

  /** From here on what the runner does is the other's to know, on the connection that there is, if there is one. */
  passTo(owner: SandboxOwner): void {
    this.#owner = owner
    if (this.#isConnected) owner.connected(this)
    else owner.disconnected(this)
  }

  /** Lets the runner in. The sandbox has to be on this machine. Idempotent. */
  async listen(ref: SandboxRef): Promise<void> {
    if (this.#listener !== undefined) return
    if (ref.runDir === undefined || ref.uidBase === undefined) {
      throw new Error(`sandbox ${ref.id} has no directory on this machine`)
    }
    const listener = await listenForRunner(join(ref.runDir, LINK_SOCKET), ref.uidBase, {
      onLink: (socket) => {
        // One runner, one connection: a new one means that the old one is dead, whatever its socket says.
        this.#connection?.close('replaced')
        this.#connection = new RunnerConnection(socket, this.#peer())
      },
      channel: (path, authorization) => this.#dials.expected(path, authorization),
    })
    if (this.#isClosed) await listener[Symbol.asyncDispose]()
    else this.#listener = listener
  }

  /**
   * Number of the last command that the runner has handled. It is noted with the next commit: losing it is harmless, for the runner passes
   * over what it has handled.
   */
  acked(sessionId: string): number {
    return this.#acked.get(sessionId) ?? 0
  }

  command(sessionId: string, seq: number, body: Command): void {
    this.#connection?.command(this.names.inside(sessionId), seq, body)
  }

  acknowledge(sessionId: string, seq: number): void {
    this.#connection?.acknowledge(this.names.inside(sessionId), seq)
  }

  resume(): void {
    this.#connection?.resume()
  }

  /**
   * Has a job done on a channel of its own. Waits until the runner is connected; `unavailable` when it does not dial in time, or the sandbox
   * is given up meanwhile.
   */
  channel(job: ChannelJob, signal: AbortSignal): Promise<Channel> {
    const inside = job.type === 'port' ? job : { ...job, session_id: this.names.inside(job.session_id) }
    return this.#dials.open(inside, signal)
  }

  /** The runner reconnects and replays what was not acknowledged. */
  disconnect(): void {
    this.#connection?.close('going_away')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#dials[Symbol.dispose]()
    this.#connection?.close('going_away')
    await this.#listener?.[Symbol.asyncDispose]()
  }

  #peer(): ConstructorParameters<typeof RunnerConnection>[1] {
    const { id, nonce, names } = this
    return {
      sandboxId: id,
      nonce,
      logger: this.#logger,
      epoch: () => this.#owner.epoch(),
      superseded: () => this.#owner.superseded(),
      progress: async () => {
        const progress = await this.#owner.progress()
        return progress.map((one) => ({ ...one, sessionId: names.inside(one.sessionId) }))
      },
      acknowledged: (name, seq) => void this.#acked.set(names.outside(name), seq),
      receive: (item) => this.#owner.receive({ ...item, session_id: names.outside(item.session_id) }, this),
      mismatched: (protocol) => this.#owner.mismatched(protocol),
      welcomed: () => {
        this.#dials.connected((message) => this.#connection?.dial(message))
        this.#isConnected = true
        this.#owner.connected(this)
      },
      closed: (connection) => {
        if (this.#connection !== connection) return
        this.#connection = undefined
        this.#isConnected = false
        this.#dials.disconnected()
        if (!this.#isClosed) this.#owner.disconnected(this)
      },
    }
  }
}
