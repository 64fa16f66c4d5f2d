import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { modelUsage, type ModelUsage, usageGroups, type UsageGroups, type UsageQuestion } from '@berth/protocol/gateway'
import { z } from 'zod'
import {
  type FromWorker,
  fromWorker,
  type LedgerRow,
  type Question,
  spent,
  type Spent,
  type ToWorker,
} from './ledger-message.ts'

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

interface Pending {
  row: LedgerRow
  readonly waiters: Waiter[]
}

interface Query {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

/**
 * The durable record of model requests. One batch is on its way to the disk at a time; what comes meanwhile goes together in the next
 * (group commit), a row that changed twice only once, so that what waits is bounded by the requests under way.
 */
export class Ledger implements AsyncDisposable {
  readonly #worker: Worker
  #pending = new Map<string, Pending>()
  #writing: Waiter[] | undefined
  #batch = 0
  readonly #queries = new Map<number, Query>()
  #query = 0
  #ended: Error | undefined
  #closing = false
  /** Why the last batch could not be written; undefined when it was. */
  #failure: string | undefined

  readonly #fatal: (error: Error) => void

  private constructor(worker: Worker, fatal: (error: Error) => void) {
    this.#worker = worker
    this.#fatal = fatal
    worker.on('message', (data: unknown) => this.#receive(fromWorker.parse(data)))
    worker.on('error', (error) => this.#end(error instanceof Error ? error : new Error(String(error))))
    worker.on('exit', () => this.#end(new Error('The ledger is closed')))
  }

  /**
   * Closes as `cut`, ended at `now`, what an earlier process left open. Rejects when the file cannot be opened or is not durable;
   * `fatal` is called when the thread dies later: nothing can be accounted for then.
   */
  static async open(path: string, now: string, fatal: (error: Error) => void): Promise<Ledger> {
    const worker = new Worker(new URL('./ledger-worker.ts', import.meta.url), { workerData: { path, now } })
    await once(worker, 'message')
    return new Ledger(worker, fatal)
  }

  /** False while rows cannot be written (full disk): no model request may start that could not be accounted for. */
  get healthy(): boolean {
    return this.#failure === undefined && this.#ended === undefined
  }

  /** Settles when the row is on disk. A later row of the same id replaces it. */
  write(row: LedgerRow): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const pending = this.#pending.get(row.id)
    if (pending === undefined) this.#pending.set(row.id, { row, waiters: [{ resolve, reject }] })
    else {
      pending.row = row
      pending.waiters.push({ resolve, reject })
    }
    this.#flush()
    return promise
  }

  /** Sums over the settled requests of a session, one entry per model; each of its rows that was handed over before is in them. */
  async usage(sessionId: string): Promise<ModelUsage[]> {
    await this.#taken(sessionId)
    return this.#ask({ of: 'session', session_id: sessionId }, z.array(modelUsage))
  }

  /** What all settled requests of the session cost. */
  spentBy(sessionId: string): Promise<Spent> {
    return this.#ask({ of: 'spent_by', session_id: sessionId }, spent)
  }

  /** The same of the workspace, of requests that began on this day (UTC). */
  spentOn(workspaceId: string, day: string): Promise<Spent> {
    return this.#ask({ of: 'spent_on', workspace_id: workspaceId, day }, spent)
  }

  async groups(question: UsageQuestion): Promise<UsageGroups> {
    return { groups: await this.#ask({ of: 'groups', ...question }, usageGroups.shape.groups) }
  }

  /** Writes what waits, then closes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended !== undefined) return
    this.#closing = true
    const exited = once(this.#worker, 'exit')
    while (this.#writing !== undefined || this.#pending.size > 0) {
      this.#flush()
      await new Promise<void>((resolve) => this.#writing?.push({ resolve, reject: () => resolve() }))
      if (!this.healthy) break
    }
    this.#send({ type: 'close' })
    await exited
  }

  /** Resolves when no row of the session waits behind the present batch: a question would be answered before it is written. */
  async #taken(sessionId: string): Promise<void> {
    const waiting = [...this.#pending.values()].find(({ row }) => row.session_id === sessionId)
    if (waiting === undefined) return
    const { promise, resolve } = Promise.withResolvers<void>()
    waiting.waiters.push({ resolve, reject: () => resolve() })
    await promise
  }

  async #ask<S extends z.ZodType>(question: Question, answer: S): Promise<z.output<S>> {
    if (this.#ended !== undefined) throw this.#ended
    const query = ++this.#query
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#queries.set(query, { resolve, reject })
    this.#send({ type: 'ask', query, question })
    return answer.parse(await promise)
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message)
  }

  #flush(): void {
    if (this.#writing !== undefined || this.#pending.size === 0) return
    const pending = [...this.#pending.values()]
    this.#pending = new Map()
    this.#writing = pending.flatMap((each) => each.waiters)
    this.#send({ type: 'write', batch: ++this.#batch, rows: pending.map((each) => each.row) })
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'ready':
        return
      case 'written':
        return this.#written(message.error)
      case 'answered': {
        const query = this.#queries.get(message.query)
        this.#queries.delete(message.query)
        if (message.error === null) query?.resolve(message.answer)
        else query?.reject(new Error(message.error))
      }
    }
  }

  #written(error: string | null): void {
    const waiters = this.#writing ?? []
    this.#writing = undefined
    this.#failure = error ?? undefined
    for (const waiter of waiters) {
      if (error === null) waiter.resolve()
      else waiter.reject(new Error(`The ledger could not be written: ${error}`))
    }
    this.#flush()
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    const waiters = [...(this.#writing ?? []), ...[...this.#pending.values()].flatMap((each) => each.waiters)]
    for (const waiter of [...waiters, ...this.#queries.values()]) waiter.reject(error)
    this.#queries.clear()
    if (!this.#closing) this.#fatal(error)
  }
}
