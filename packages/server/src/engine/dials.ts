/** Channels that a sandbox's runner was, or is to be, asked for. */
import { randomUUID, timingSafeEqual } from 'node:crypto'
import { BerthError } from '@berth/protocol'
import { channelPath, type ChannelJob, type Dial } from '@berth/protocol/channel'
import type { WebSocket } from 'ws'
import { Channel } from './channel.ts'

/** How long a runner may take to dial, from when it was asked. */
const DIAL_MS = 15_000
/** How long one that is not connected is waited for. */
const CONNECT_MS = 60_000
const MAX_WAITING = 64

interface Waiting {
  readonly message: Dial
  readonly opened: PromiseWithResolvers<Channel>
  isAsked: boolean
}

export class Dials implements Disposable {
  readonly #secret: Buffer
  readonly #waiting = new Map<string, Waiting>()
  #send: ((message: Dial) => void) | undefined
  #isClosed = false

  constructor(nonce: string) {
    this.#secret = Buffer.from(`Bearer ${nonce}`)
  }

  async open(job: ChannelJob, signal: AbortSignal): Promise<Channel> {
    if (this.#isClosed) throw gone()
    if (this.#waiting.size >= MAX_WAITING)
      throw new BerthError('unavailable', 'too much is asked of the sandbox at once')
    const message: Dial = { type: 'dial', id: randomUUID(), job }
    const opened = Promise.withResolvers<Channel>()
    const path = channelPath(message.id)
    const waiting: Waiting = { message, opened, isAsked: false }
    this.#waiting.set(path, waiting)
    const late = setTimeout(
      () => opened.reject(new BerthError('unavailable', 'the sandbox does not answer')),
      this.#send === undefined ? CONNECT_MS : DIAL_MS,
    )
    const abort = (): void => opened.reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    this.#ask(waiting)
    try {
      return await opened.promise
    } finally {
      clearTimeout(late)
      signal.removeEventListener('abort', abort)
      this.#waiting.delete(path)
    }
  }

  /** What to do with a socket that comes for this path; undefined: nobody waits for it, or it does not come from the runner. */
  expected(path: string, authorization: string | undefined): ((socket: WebSocket) => void) | undefined {
    const waiting = this.#waiting.get(path)
    if (waiting === undefined || !this.#isRunner(authorization ?? '')) return undefined
    this.#waiting.delete(path)
    return (socket) => waiting.opened.resolve(new Channel(socket))
  }

  /** The runner takes requests from here on; those that wait are made now. */
  connected(send: (message: Dial) => void): void {
    this.#send = send
    for (const waiting of this.#waiting.values()) this.#ask(waiting)
  }

  /** Requests that were made may be lost. */
  disconnected(): void {
    this.#send = undefined
    for (const { isAsked, opened } of this.#waiting.values()) if (isAsked) opened.reject(gone())
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    for (const { opened } of this.#waiting.values()) opened.reject(gone())
  }

  #ask(waiting: Waiting): void {
    if (this.#send === undefined || waiting.isAsked) return
    waiting.isAsked = true
    this.#send(waiting.message)
  }

  #isRunner(authorization: string): boolean {
    const given = Buffer.from(authorization)
    return given.length === this.#secret.length && timingSafeEqual(given, this.#secret)
  }
}

function gone(): BerthError {
  return new BerthError('unavailable', 'the sandbox is not connected any more')
}
