/** The server's end of a channel (see protocol/channel.ts): messages both ways, none of them piled up without bound. */
import { MAX_CHANNEL_MESSAGE } from '@berth/protocol/channel'
import { BerthError } from '@berth/protocol'
import type { WebSocket } from 'ws'

/** Messages that were received and not read; then the socket is paused. */
const MAX_UNREAD = 16
/** Bytes that were sent and are not on their way; then `send` waits. */
const MAX_UNSENT = 2 * MAX_CHANNEL_MESSAGE
/** How long the other side may take to answer a close. */
const HANG_UP_MS = 500
const NORMAL_CLOSE = 1000

export class Channel implements AsyncDisposable {
  readonly #socket: WebSocket
  readonly #unread: (string | Uint8Array)[] = []
  #wake: (() => void) | undefined
  #end: { readonly code: number; readonly reason: string } | undefined

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer, isBinary) => {
      this.#unread.push(isBinary ? data : data.toString('utf8'))
      if (this.#unread.length >= MAX_UNREAD) socket.pause()
      this.#wake?.()
    })
    socket.on('error', () => undefined)
    socket.on('close', (code, reason) => {
      this.#end = { code, reason: reason.toString('utf8') }
      this.#wake?.()
    })
  }

  /** Resolves when there is room for another message. `unavailable` when the channel has ended. */
  async send(message: string | Uint8Array): Promise<void> {
    if (this.#end !== undefined) throw this.#broken()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#socket.send(message, (error) => (error ? reject(this.#broken()) : resolve()))
    if (this.#socket.bufferedAmount > MAX_UNSENT) return promise
    // The next one to be sent, or read, finds out.
    promise.catch(() => undefined)
  }

  /** The next message; undefined when the other side has closed the channel in order. `unavailable` when it broke. */
  async read(signal: AbortSignal): Promise<string | Uint8Array | undefined> {
    for (;;) {
      signal.throwIfAborted()
      const next = this.#unread.shift()
      if (next !== undefined) {
        if (this.#unread.length < MAX_UNREAD / 2) this.#socket.resume()
        return next
      }
      if (this.#end !== undefined) {
        if (this.#end.code === NORMAL_CLOSE) return undefined
        throw this.#broken()
      }
      await this.#change(signal)
    }
  }

  /** How the other side, or the loss of it, has ended the channel; undefined: it has not. What came before may yet be read. */
  get ended(): { readonly code: number; readonly reason: string } | undefined {
    return this.#end
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#end !== undefined) return
    this.#socket.resume()
    this.#socket.close(NORMAL_CLOSE)
    await this.#change(AbortSignal.timeout(HANG_UP_MS)).catch(() => undefined)
    this.#socket.terminate()
  }

  #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    this.#wake = resolve
    return promise.finally(() => signal.removeEventListener('abort', abort))
  }

  #broken(): BerthError {
    const { code, reason } = this.#end ?? { code: 1006, reason: '' }
    return new BerthError('unavailable', `the channel to the sandbox broke (${code}${reason && `: ${reason}`})`)
  }
}
