/** The server's hold on one sandbox: its link socket, the runner's present connection, its time to live. */
import type { Command } from '@berth/protocol'
import { inside, type SandboxRef } from '@berth/sandbox'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { LinkProgress } from '../store/sandboxes.ts'
import { RunnerConnection, type RunnerItem } from './runner-connection.ts'
import { listenForRunner } from './runner-listener.ts'

const LINK_SOCKET = inside.link.slice(inside.run.length)

export interface SandboxHostOptions {
  readonly id: string
  readonly nonce: string
  readonly epoch: number
  readonly logger: Logger
  progress(): Promise<LinkProgress[]>
  receive(item: RunnerItem, host: SandboxHost): boolean
  /** The runner is connected, or connected again. */
  connected(host: SandboxHost): void
  /** The runner is connected no more; it may come back. */
  disconnected(host: SandboxHost): void
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
  #isClosed = false
  readonly #acked = new Map<string, number>()

  constructor(options: SandboxHostOptions) {
    this.id = options.id
    this.nonce = options.nonce
    this.#options = options
  }

  /** Lets the runner in. The sandbox has to be on this machine. */
  async listen(ref: SandboxRef): Promise<void> {
    if (ref.runDir === undefined || ref.uidBase === undefined) {
      throw new Error(`sandbox ${ref.id} has no directory on this machine`)
    }
    const listener = await listenForRunner(join(ref.runDir, LINK_SOCKET), ref.uidBase, (socket) => {
      // One runner, one connection: a new one means that the old one is dead, whatever its socket says.
      this.#connection?.close('replaced')
      this.#connection = new RunnerConnection(socket, this.#peer())
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

  /** The runner reconnects and replays what was not acknowledged. */
  disconnect(): void {
    this.#connection?.close('going_away')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    this.#connection?.close('going_away')
    await this.#listener?.[Symbol.asyncDispose]()
  }

  #peer(): ConstructorParameters<typeof RunnerConnection>[1] {
    const options = this.#options
    const { id, nonce, epoch, logger } = options
    return {
      sandboxId: id,
      nonce,
      epoch,
      logger,
      progress: () => options.progress(),
      acknowledged: (sessionId, seq) => void this.#acked.set(sessionId, seq),
      receive: (item) => options.receive(item, this),
      mismatched: (protocol) => options.mismatched(protocol),
      welcomed: () => options.connected(this),
      closed: (connection) => {
        if (this.#connection !== connection) return
        this.#connection = undefined
        if (!this.#isClosed) options.disconnected(this)
      },
    }
  }
}
