/** A TCP connection to a port of a sandbox, over a channel. Neither side is faster than the other takes it. */
import { Duplex } from 'node:stream'
import { callbackify } from 'node:util'
import { BerthError } from '@berth/protocol'
import { channelClose, MAX_CHANNEL_MESSAGE } from '@berth/protocol/channel'
import type { Channel } from './channel.ts'

export class PortConnection extends Duplex {
  readonly #channel: Channel
  readonly #port: number
  readonly #gone = new AbortController()

  constructor(channel: Channel, port: number) {
    super({ allowHalfOpen: false })
    this.#channel = channel
    this.#port = port
  }

  override _read(): void {
    this.#next().then(
      (bytes) => this.push(bytes),
      (error: unknown) => this.destroy(this.#explain(error)),
    )
  }

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const settle = callbackify(() => this.#send(bytes))
    // How the channel ended is told to the reader, behind what came before.
    settle((error) => (error === null || this.#channel.ended !== undefined ? done() : done(this.#explain(error))))
  }

  override _final(done: () => void): void {
    done()
    this.destroy()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#gone.abort(error ?? new BerthError('unavailable', 'the connection was closed'))
    callbackify(() => this.#channel[Symbol.asyncDispose]())(() => done(error))
  }

  /** Null: the end. */
  async #next(): Promise<Uint8Array | null> {
    for (;;) {
      const bytes = await this.#channel.read(this.#gone.signal)
      if (bytes === undefined) return null
      if (typeof bytes === 'string') throw new BerthError('unavailable', 'the sandbox does not speak as it should')
      if (bytes.length > 0) return bytes
    }
  }

  async #send(bytes: Buffer): Promise<void> {
    for (let start = 0; start < bytes.length; start += MAX_CHANNEL_MESSAGE) {
      await this.#channel.send(bytes.subarray(start, start + MAX_CHANNEL_MESSAGE))
    }
  }

  #explain(cause: unknown): Error {
    switch (this.#channel.ended?.code) {
      case channelClose.cannot_connect:
        return new BerthError('unavailable', `nothing listens on port ${this.#port} of the sandbox`, { cause })
      case channelClose.busy:
        return new BerthError('rate_limited', 'the sandbox has too many connections', { cause })
      case undefined:
        return cause instanceof Error ? cause : new Error('the connection broke', { cause })
      default:
        return new BerthError('unavailable', `the connection to port ${this.#port} of the sandbox broke`, { cause })
    }
  }
}
