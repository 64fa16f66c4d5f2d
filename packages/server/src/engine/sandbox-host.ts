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

const LINK_SOCKET = inside.link.slice(inside.run.length)

export interface SandboxHostOptions {
  readonly id: string
  readonly nonce: string
  readonly logger: Logger
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

export class SandboxHost implements AsyncDisposable {
  readonly id: string
  /** Of this launch of the sandbox: tells the host's frames from those of an earlier one. */
  readonly nonce: string
  readonly #options: SandboxHostOptions
  #listener: AsyncDisposable | undefined
  #connection: RunnerConnection | undefined
  readonly #dials: Dials
  #isClosed = false
  readonly #acked = new Map<string, number>()

  constructor(options: SandboxHostOptions) {
    this.id = options.id
    this.nonce = options.nonce
    this.#options = options
    this.#dials = new Dials(options.nonce)
  }

  /** Lets the runner in. The sandbox has to be on this machine. */
  async listen(ref: SandboxRef): Promise<void> {
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
    this.#connection?.command(sessionId, seq, body)
  }

  acknowledge(sessionId: string, seq: number): void {
    this.#connection?.acknowledge(sessionId, seq)
  }

  resume(): void {
    this.#connection?.resume()
  }

  /**
   * Has a job done on a channel of its own. Waits until the runner is connected; `unavailable` when it does not dial in time, or the sandbox
   * is given up meanwhile.
   */
  channel(job: ChannelJob, signal: AbortSignal): Promise<Channel> {
    return this.#dials.open(job, signal)
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
    const options = this.#options
    const { id, nonce, logger } = options
    return {
      sandboxId: id,
      nonce,
      logger,
      epoch: () => options.epoch(),
      superseded: () => options.superseded(),
      progress: () => options.progress(),
      acknowledged: (sessionId, seq) => void this.#acked.set(sessionId, seq),
      receive: (item) => options.receive(item, this),
      mismatched: (protocol) => options.mismatched(protocol),
      welcomed: () => {
        this.#dials.connected((message) => this.#connection?.dial(message))
        options.connected(this)
      },
      closed: (connection) => {
        if (this.#connection !== connection) return
        this.#connection = undefined
        this.#dials.disconnected()
        if (!this.#isClosed) options.disconnected(this)
      },
    }
  }
}
