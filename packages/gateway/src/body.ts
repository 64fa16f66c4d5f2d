import type { IncomingMessage } from 'node:http'
import { Refusal } from './refusal.ts'

const MAX_BODY = 32 * 1024 * 1024

/** Bytes of request bodies that may be in memory at once; a session's budget is part of the gateway's. */
export class BodyBudget {
  readonly #limit: number
  readonly #whole: BodyBudget | undefined
  #used = 0

  constructor(limit: number, whole?: BodyBudget) {
    this.#limit = limit
    this.#whole = whole
  }

  /** Throws a `Refusal`, with nothing taken, when there is no room. */
  take(bytes: number): void {
    if (this.#used + bytes > this.#limit) {
      throw new Refusal(503, 'Too many large requests at once', { retry: true, retryAfter: '1' })
    }
    this.#whole?.take(bytes)
    this.#used += bytes
  }

  give(bytes: number): void {
    this.#whole?.give(bytes)
    this.#used -= bytes
  }
}

/** A body in memory, held against the budget until disposed. */
export interface HeldBody extends Disposable {
  readonly bytes: Buffer
}

/** Reads the whole body. One that is too long is read on for a while, so that the client sees the refusal and not a broken pipe. */
export async function readBody(request: IncomingMessage, budget: BodyBudget, limit = MAX_BODY): Promise<HeldBody> {
  const chunks: Buffer[] = []
  let seen = 0
  let held = 0
  try {
    for await (const chunk of request) {
      if (!Buffer.isBuffer(chunk)) continue
      seen += chunk.length
      if (seen > 2 * limit) break
      if (seen > limit) continue
      budget.take(chunk.length)
      held += chunk.length
      chunks.push(chunk)
    }
    if (seen > limit) throw new Refusal(413, `The request is over ${limit / 1024 / 1024} MiB`)
  } catch (error) {
    budget.give(held)
    throw error
  }
  return { bytes: Buffer.concat(chunks), [Symbol.dispose]: () => budget.give(held) }
}
