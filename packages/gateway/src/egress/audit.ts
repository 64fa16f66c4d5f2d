import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { EgressDecision, EgressTraffic } from '@berth/protocol/gateway'
import type { AuditBounds } from './audit-database.ts'
import {
  type AuditAnswer,
  type AuditQuery,
  type AuditRow,
  fromAuditWorker,
  type ToAuditWorker,
  type TrafficRow,
} from './audit-message.ts'

const defaultBounds: AuditBounds = { perSession: 10_000, overall: 1_000_000 }

interface Waiting<Value> {
  readonly resolve: (value: Value) => void
  readonly reject: (error: Error) => void
}

/**
 * The record of what was decided about ways out, and of how much went by them. One batch is being written at a time, what comes meanwhile goes together in the next.
 * Whoever writes waits, so that what waits here is bounded by the requests under way.
 */
export class Audit implements AsyncDisposable {
  readonly #worker: Worker
  #pending: { row: AuditRow; waiting: Waiting<void> }[] = []
  #writing: Waiting<void>[] | undefined
  readonly #queries = new Map<number, Waiting<AuditAnswer>>()
  #query = 0
  #ended: Error | undefined

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (data: unknown) => this.#receive(data))
    worker.on('error', (error) => this.#end(error instanceof Error ? error : new Error(String(error))))
    worker.on('exit', () => this.#end(new Error('The audit is closed')))
  }

  /** Rejects when the file cannot be opened. When its thread dies later, every write rejects, and nobody leaves any more. */
  static async open(path: string, bounds: AuditBounds = defaultBounds): Promise<Audit> {
    const worker = new Worker(new URL('./audit-worker.ts', import.meta.url), { workerData: { path, bounds } })
    await once(worker, 'message')
    return new Audit(worker)
  }

  /** Settles when the row is in the file. */
  write(row: AuditRow): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#pending.push({ row, waiting: { resolve, reject } })
    this.#flush()
    return promise
  }

  /** Newest first. */
  async list(of: AuditQuery): Promise<EgressDecision[]> {
    const answer = await this.#ask((query) => ({ type: 'list', query, of }))
    if (answer.type !== 'listed') throw new Error('The audit has answered another question')
    return answer.decisions
  }

  /** Adds to what is there of these sessions: all of it or nothing. In the file when this resolves. */
  async addTraffic(rows: readonly TrafficRow[]): Promise<void> {
    await this.#ask((query) => ({ type: 'add_traffic', query, rows: [...rows] }))
  }

  /** Zeros for a session that it never saw. */
  async findTraffic(sessionId: string): Promise<EgressTraffic> {
    const answer = await this.#ask((query) => ({ type: 'find_traffic', query, session_id: sessionId }))
    if (answer.type !== 'traffic') throw new Error('The audit has answered another question')
    return answer.traffic
  }

  /** Writes what waits, then closes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended !== undefined) return
    const exited = once(this.#worker, 'exit')
    // The worker takes its messages in order.
    const rows = this.#pending.map(({ row }) => row)
    if (rows.length > 0) this.#send({ type: 'write', rows })
    this.#send({ type: 'close' })
    await exited
  }

  async #ask(question: (query: number) => ToAuditWorker): Promise<AuditAnswer> {
    if (this.#ended !== undefined) throw this.#ended
    const query = ++this.#query
    const { promise, resolve, reject } = Promise.withResolvers<AuditAnswer>()
    this.#queries.set(query, { resolve, reject })
    this.#send(question(query))
    return promise
  }

  #send(message: ToAuditWorker): void {
    this.#worker.postMessage(message)
  }

  #flush(): void {
    if (this.#writing !== undefined || this.#pending.length === 0) return
    const batch = this.#pending
    this.#pending = []
    this.#writing = batch.map(({ waiting }) => waiting)
    this.#send({ type: 'write', rows: batch.map(({ row }) => row) })
  }

  #receive(data: unknown): void {
    const message = fromAuditWorker.parse(data)
    switch (message.type) {
      case 'ready':
        return
      case 'written': {
        const waiting = this.#writing ?? []
        this.#writing = undefined
        const failure = message.error === null ? undefined : new Error(`The audit cannot be written: ${message.error}`)
        for (const { resolve, reject } of waiting)
          if (failure === undefined) resolve()
          else reject(failure)
        return this.#flush()
      }
      case 'failed':
        this.#take(message.query)?.reject(new Error(message.error))
        return
      case 'listed':
      case 'traffic':
      case 'traffic_added':
        this.#take(message.query)?.resolve(message)
    }
  }

  #take(query: number): Waiting<AuditAnswer> | undefined {
    const asked = this.#queries.get(query)
    this.#queries.delete(query)
    return asked
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    const waiting = [...(this.#writing ?? []), ...this.#pending.map((each) => each.waiting), ...this.#queries.values()]
    for (const { reject } of waiting) reject(error)
    this.#queries.clear()
  }
}
