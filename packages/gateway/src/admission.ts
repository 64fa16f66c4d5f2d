import { Worker } from 'node:worker_threads'
import type { Admitted, Endpoint, Policy } from './admit.ts'
import { admit } from './admit.ts'
import { fromAdmitWorker, type ToAdmitWorker } from './admit-message.ts'
import { measureJson } from './json-shape.ts'
import { Refusal } from './refusal.ts'

/** Bodies up to here take the event loop a few milliseconds at most; others are examined in a thread. */
const INLINE_BYTES = 512 * 1024
const INLINE_NODES = 20_000

export interface Asking {
  readonly sessionId: string
  /** Given away: not to be used afterwards. */
  readonly bytes: Buffer
  readonly endpoint: Endpoint
  readonly policy: Policy
}

interface Job extends Asking {
  readonly resolve: (admitted: Admitted) => void
  readonly reject: (error: unknown) => void
}

/**
 * `admit` for bodies of any size, so that nobody's large body holds up the others' requests: one is examined at a time, and a session
 * has its next turn when every other session that waits has had one.
 */
export class Admission implements AsyncDisposable {
  readonly #waiting = new Map<string, Job[]>()
  #running: Job | undefined
  #worker: Worker | undefined

  /** Throws what `admit` throws. */
  async admit(asking: Asking): Promise<Admitted> {
    const { bytes, endpoint, policy } = asking
    if (bytes.length <= INLINE_BYTES && measureJson(bytes, INLINE_NODES).nodes <= INLINE_NODES) {
      return admit(bytes, endpoint, policy)
    }
    const { promise, resolve, reject } = Promise.withResolvers<Admitted>()
    const job = { ...asking, resolve, reject }
    const own = this.#waiting.get(asking.sessionId)
    if (own === undefined) this.#waiting.set(asking.sessionId, [job])
    else own.push(job)
    this.#next()
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const worker = this.#worker
    this.#fail(new Refusal(503, 'The gateway is going away', { retry: true }))
    await worker?.terminate()
  }

  #next(): void {
    if (this.#running !== undefined) return
    const [first] = this.#waiting
    if (first === undefined) return
    const [sessionId, [job, ...others]] = first
    this.#waiting.delete(sessionId)
    if (others.length > 0) this.#waiting.set(sessionId, others)
    if (job === undefined) return
    this.#running = job
    const { bytes, endpoint, policy } = job
    const message: ToAdmitWorker = {
      bytes,
      endpoint,
      policy: { models: policy.models, server_tools: policy.server_tools },
    }
    this.#worker ??= this.#start()
    this.#worker.postMessage(message, bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : [])
  }

  #start(): Worker {
    const worker = new Worker(new URL('./admit-worker.ts', import.meta.url))
    worker.on('message', (data: unknown) => this.#answered(data))
    worker.on('error', (error) => {
      this.#worker = undefined
      const job = this.#running
      this.#running = undefined
      job?.reject(error)
      this.#next()
    })
    worker.unref()
    return worker
  }

  #answered(data: unknown): void {
    const job = this.#running
    this.#running = undefined
    const answer = fromAdmitWorker.parse(data)
    if (answer.type === 'refused') job?.reject(new Refusal(answer.status, answer.message))
    else if (answer.type === 'failed') job?.reject(new Error(answer.message))
    else
      job?.resolve({
        body: Buffer.from(answer.body.buffer, answer.body.byteOffset, answer.body.byteLength),
        model: answer.model,
        answering: answer.answering,
        maxTokens: answer.maxTokens,
        stream: answer.stream,
      })
    this.#next()
  }

  #fail(error: Error): void {
    this.#worker = undefined
    for (const job of [...(this.#running ? [this.#running] : []), ...[...this.#waiting.values()].flat()])
      job.reject(error)
    this.#running = undefined
    this.#waiting.clear()
  }
}
