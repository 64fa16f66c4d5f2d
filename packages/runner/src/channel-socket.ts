import { channelClose } from '@berth/protocol/channel-constants'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import type { RawData, WebSocket } from 'ws'

/** With more than this on its way to the server, nothing more is read, until it is less than half. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024
/** How long one side may not take what the other has for it. */
const STALL_MS = 120_000
/** Of a close frame. */
const MAX_REASON_BYTES = 123
const OPEN = 1

/** Why a channel ends otherwise than well. */
export class ChannelFailure extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** What a job does with a message of the server, and answers whether it can take more at once. */
export type OnMessage = (body: Buffer, isBinary: boolean) => boolean

/** A channel as its job sees it: messages both ways, neither faster than the other side takes them. */
export class ChannelSocket {
  readonly #socket: WebSocket
  readonly #gone = new AbortController()
  #source: Readable | undefined
  #stalled: NodeJS.Timeout | undefined

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('close', () => {
      clearTimeout(this.#stalled)
      this.#gone.abort(new ChannelFailure(channelClose.done, 'the channel has been closed'))
    })
  }

  /** Waits until it is open. Nothing is received before `receive`. Rejects when it cannot be opened. */
  static async open(socket: WebSocket): Promise<ChannelSocket> {
    const channel = new ChannelSocket(socket)
    // At once: a message may have come with the answer to the dial, and nobody listens yet.
    socket.once('open', () => socket.pause())
    await once(socket, 'open')
    socket.on('error', () => undefined)
    return channel
  }

  /** Aborted when the channel is closed, by whomever. */
  get gone(): AbortSignal {
    return this.#gone.signal
  }

  /** Hands over what comes. While the job can take no more, nothing is read, until `sink` has drained. */
  receive(sink: Writable, onMessage: OnMessage): void {
    this.#socket.on('message', (data: RawData, isBinary: boolean) => {
      if (!(data instanceof Buffer) || sink.destroyed || onMessage(data, isBinary) || sink.destroyed) return
      this.#socket.pause()
      this.#watch(true)
    })
    sink.on('drain', () => this.#resume())
    sink.on('close', () => this.#resume())
    this.#resume()
  }

  /** From now on, `source` pauses while the server does not take what was sent. */
  throttle(source: Readable): void {
    this.#source = source
  }

  send(body: Buffer, isBinary: boolean): void {
    if (this.#socket.readyState !== OPEN) return
    this.#socket.send(body, { binary: isBinary }, () => this.#sent())
    if (this.#socket.bufferedAmount <= HIGH_WATER_BYTES || this.#source?.isPaused() !== false) return
    this.#source.pause()
    this.#watch(true)
  }

  /** Closes it, behind everything that was sent. */
  close(code: number, reason: string): void {
    this.#socket.resume()
    let text = reason.slice(0, MAX_REASON_BYTES)
    while (Buffer.byteLength(text) > MAX_REASON_BYTES) text = text.slice(0, -1)
    this.#socket.close(code, text.toWellFormed())
  }

  /** Cuts it at once. */
  cut(): void {
    this.#socket.terminate()
  }

  #sent(): void {
    if (this.#source?.isPaused() !== true || this.#socket.bufferedAmount > HIGH_WATER_BYTES / 2) return
    this.#watch(false)
    this.#source.resume()
  }

  #resume(): void {
    this.#watch(false)
    this.#socket.resume()
  }

  /** A channel that is not read does not notice its end either: one that stands still for too long is cut. */
  #watch(isStill: boolean): void {
    clearTimeout(this.#stalled)
    this.#stalled = isStill ? setTimeout(() => this.cut(), STALL_MS).unref() : undefined
  }
}
