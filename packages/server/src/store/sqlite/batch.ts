/** Runs a batch of store calls in one transaction, each in a savepoint of its own, so that one that fails undoes itself alone. */
import { isBerthError } from '@berth/protocol'
import { operations } from '../operations.ts'
import { runOnce } from '../run-once.ts'
import type { Db } from '../store.ts'
import type { Connection } from './connection.ts'
import { explainFault } from './faults.ts'
import type { Answer, Call, Failure } from './messages.ts'

const table: ReadonlyMap<string, (db: Db, args: never) => Promise<unknown>> = new Map(Object.entries(operations))

/** Resolves when the batch is committed; where the commit itself fails, every call of the batch has failed. */
export async function answerBatch(connection: Connection, begin: string, batch: readonly Call[]): Promise<Answer[]> {
  const { raw } = connection
  try {
    raw.exec(begin)
    const answers: Answer[] = []
    for (const call of batch) answers.push(await answerOne(connection, call))
    raw.exec('COMMIT')
    return answers
  } catch (error) {
    if (raw.isTransaction) raw.exec('ROLLBACK')
    return batch.map((call) => ({ id: call.id, ok: false, failure: failureOf(error, connection) }))
  }
}

async function answerOne(connection: Connection, call: Call): Promise<Answer> {
  const { raw, db } = connection
  const operation = table.get(call.operation)
  if (operation === undefined) {
    return { id: call.id, ok: false, failure: failureOf(new Error(`no operation ${call.operation}`), connection) }
  }
  raw.exec('SAVEPOINT call')
  try {
    // The main thread's `Store` type has checked the arguments against this very operation.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const run = () => operation(db, call.args as never)
    const { once } = call
    const value = once === undefined ? await run() : await runOnce(db, once, { operation: call.operation, run })
    raw.exec('RELEASE call')
    return { id: call.id, ok: true, value }
  } catch (error) {
    // On a full disk SQLite has undone the whole transaction by itself.
    if (!raw.isTransaction) throw error
    raw.exec('ROLLBACK TO call; RELEASE call')
    return { id: call.id, ok: false, failure: failureOf(error, connection) }
  }
}

function failureOf(fault: unknown, { path }: Connection): Failure {
  const error = explainFault(fault, path)
  const known = isBerthError(error) ? error : undefined
  return {
    code: known?.code,
    message: error instanceof Error ? error.message : String(error),
    stack: error instanceof Error ? error.stack : undefined,
    details: known?.details,
  }
}
