/**
 * The store's worker thread: one connection, calls in order, as many in one transaction as have come in meanwhile (group commit).
 * Each call has a savepoint of its own, so that one that fails undoes itself alone.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { isBerthError } from '@berth/protocol'
import { operations } from '../operations.ts'
import type { Db } from '../store.ts'
import { openConnection } from './connection.ts'
import { migrate } from './migrate.ts'
import type { Answer, Call, Failure, FromWorker, ToWorker, WorkerOptions } from './messages.ts'

const MAX_BATCH = 256

function failureOf(error: unknown): Failure {
  const known = isBerthError(error) ? error : undefined
  return {
    code: known?.code,
    message: error instanceof Error ? error.message : String(error),
    stack: error instanceof Error ? error.stack : undefined,
    details: known?.details,
  }
}

const table: ReadonlyMap<string, (db: Db, args: never) => Promise<unknown>> = new Map(Object.entries(operations))

function run(options: WorkerOptions, port: NonNullable<typeof parentPort>): void {
  const post = (message: FromWorker): void => port.postMessage(message)
  const connection = openConnection(options.path, { readOnly: options.role === 'reader' })
  if (options.role === 'writer') migrate(connection.raw)
  const queue: Call[] = []
  let working = false
  let closing = false

  async function answerOne(call: Call): Promise<Answer> {
    const { raw, db } = connection
    const operation = table.get(call.operation)
    if (operation === undefined)
      return { id: call.id, ok: false, failure: failureOf(new Error(`no operation ${call.operation}`)) }
    raw.exec('SAVEPOINT call')
    try {
      // The main thread's `Store` type has checked the arguments against this very operation.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const value = await operation(db, call.args as never)
      raw.exec('RELEASE call')
      return { id: call.id, ok: true, value }
    } catch (error) {
      raw.exec('ROLLBACK TO call; RELEASE call')
      return { id: call.id, ok: false, failure: failureOf(error) }
    }
  }

  async function answerBatch(batch: readonly Call[]): Promise<Answer[]> {
    const { raw } = connection
    try {
      raw.exec(options.role === 'writer' ? 'BEGIN IMMEDIATE' : 'BEGIN')
      const answers: Answer[] = []
      for (const call of batch) answers.push(await answerOne(call))
      raw.exec('COMMIT')
      return answers
    } catch (error) {
      if (raw.isTransaction) raw.exec('ROLLBACK')
      return batch.map((call) => ({ id: call.id, ok: false, failure: failureOf(error) }))
    }
  }

  async function drain(): Promise<void> {
    working = true
    while (queue.length > 0) {
      post({ type: 'answers', answers: await answerBatch(queue.splice(0, MAX_BATCH)) })
      // Let the messages in that came while the commit waited for the disk: they are the next batch.
      await new Promise((resolve) => setImmediate(resolve))
    }
    working = false
    if (closing) {
      connection[Symbol.dispose]()
      port.close()
    }
  }

  port.on('message', (message: ToWorker) => {
    if (message.type === 'close') closing = true
    else queue.push(message.call)
    if (!working) void drain()
  })
  post({ type: 'ready' })
}

const { path, role }: WorkerOptions = workerData
if (parentPort !== null) run({ path, role }, parentPort)
