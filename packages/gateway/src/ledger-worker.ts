/** Thread of the ledger's file, so that nobody but it waits for the disk. */
import { parentPort, workerData as given } from 'node:worker_threads'
import { LedgerDatabase } from './ledger-database.ts'
import { type FromWorker, type Question, toWorker, workerData } from './ledger-message.ts'

const { path, now } = workerData.parse(given)
const database = new LedgerDatabase(path, now)

function attempt<T>(work: () => T, otherwise: T): { value: T; error: string | null } {
  try {
    return { value: work(), error: null }
  } catch (error) {
    return { value: otherwise, error: error instanceof Error ? error.message : String(error) }
  }
}

function ask(question: Question): unknown {
  switch (question.of) {
    case 'session':
      return database.usage(question.session_id)
    case 'spent_by':
      return database.spentBy(question.session_id)
    case 'spent_on':
      return database.spentOn(question.workspace_id, question.day)
    case 'groups':
      return database.groups(question)
    default:
      return question satisfies never
  }
}

function answer(message: FromWorker): void {
  parentPort?.postMessage(message)
}

parentPort?.on('message', (data: unknown) => {
  const message = toWorker.parse(data)
  switch (message.type) {
    case 'write': {
      const { error } = attempt(() => database.write(message.rows), undefined)
      return answer({ type: 'written', batch: message.batch, error })
    }
    case 'ask': {
      const { value, error } = attempt<unknown>(() => ask(message.question), undefined)
      return answer({ type: 'answered', query: message.query, answer: value, error })
    }
    case 'close':
      database[Symbol.dispose]()
      parentPort?.close()
  }
})

answer({ type: 'ready' })
