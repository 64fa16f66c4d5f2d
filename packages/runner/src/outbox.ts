import type { Report } from '@berth/protocol/link'

/** Reports that wait for their acknowledgement: beyond either of these the CLI's output is not read. */
export const OUTBOX_BYTES = 8 * 1024 * 1024
export const OUTBOX_FRAMES = 2_000

interface Kept {
  readonly seq: number
  readonly text: string
  readonly bytes: number
}

interface Waiter {
  readonly ready: () => boolean
  readonly resolve: () => void
}

/**
 * One session's reports, numbered from 1, kept until the server has committed them. Nothing is ever refused: the bounds are those at
 * which `hasRoom` turns false, and whoever produces reports faster than that has to wait for `room`.
 */
export class Outbox {
  readonly #sessionId: string
  readonly #kept: Kept[] = []
  readonly #waiters = new Set<Waiter>()
  #bytes = 0
  #last = 0
  #acknowledged = 0

  constructor(sessionId: string) {
    this.#sessionId = sessionId
  }

  /** Numbers a report; answers its number and the frame's text. */
  add(body: Report): Kept {
    const seq = ++this.#last
    const text = JSON.stringify({ type: 'frame', session_id: this.#sessionId, seq, body })
    const kept = { seq, text, bytes: Buffer.byteLength(text) }
    this.#kept.push(kept)
    this.#bytes += kept.bytes
    return kept
  }

  /** Everything up to and including `seq` is committed. Repeated and older numbers change nothing. */
  acknowledge(seq: number): void {
    const upTo = Math.min(seq, this.#last)
    if (upTo <= this.#acknowledged) return
    this.#acknowledged = upTo
    const done = this.#kept.findIndex((frame) => frame.seq > upTo)
    for (const frame of this.#kept.splice(0, done < 0 ? this.#kept.length : done)) this.#bytes -= frame.bytes
    for (const waiter of this.#waiters) if (waiter.ready()) waiter.resolve()
  }

  /** The texts of all frames that are not acknowledged, in order. */
  unacknowledged(): string[] {
    return this.#kept.map((frame) => frame.text)
  }

  get hasRoom(): boolean {
    return this.#bytes < OUTBOX_BYTES && this.#kept.length < OUTBOX_FRAMES
  }

  /** Resolves when there is room for more. Rejects with the signal's reason. */
  room(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.hasRoom, signal)
  }

  /** Resolves when the frame is committed. Rejects with the signal's reason. */
  acknowledged(seq: number, signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#acknowledged >= seq, signal)
  }

  async #until(ready: () => boolean, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (ready()) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter: Waiter = { ready, resolve }
    const abort = () => reject(signal.reason)
    this.#waiters.add(waiter)
    signal.addEventListener('abort', abort, { once: true })
    try {
      await promise
    } finally {
      this.#waiters.delete(waiter)
      signal.removeEventListener('abort', abort)
    }
  }
}
