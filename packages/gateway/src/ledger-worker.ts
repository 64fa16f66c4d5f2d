/** Thread of the ledger's file, so that nobody but it waits for the disk. */
import { parentPort, workerData as given } from 'node:worker_threads'
import { LedgerDatabase } from './ledger-database.ts'
import { type FromWorker, toWorker, workerData } from './ledger-message.ts'

const { path, now } = workerData.parse(given)
const database = new LedgerDatabase(path, now)

function attempt<T>(work: () => T, otherwise: T): { value: T; error: string | null } {
  try {
    return { value: work(), error: null }
  } catch (error) {
    return { value: otherwise, error: error instanceof Error ? error.message : String(error) }
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
    case 'usage': {
      const { value, error } = attempt(() => database.usage(message.session_id), [])
      return answer({ type: 'usage', query: message.query, models: value, error })
    }
    case 'close':
      database[Symbol.dispose]()
      parentPort?.close()
  }
})

answer({ type: 'ready' })
