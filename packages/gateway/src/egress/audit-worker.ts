/** Thread of the audit's file, so that nobody but it waits for the disk. */
import { parentPort, workerData } from 'node:worker_threads'
import { AuditDatabase } from './audit-database.ts'
import { auditWorkerData, type FromAuditWorker, toAuditWorker } from './audit-message.ts'

const { path, bounds } = auditWorkerData.parse(workerData)
const database = new AuditDatabase(path, bounds)

function answer(message: FromAuditWorker): void {
  parentPort?.postMessage(message)
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

parentPort?.on('message', (data: unknown) => {
  const message = toAuditWorker.parse(data)
  switch (message.type) {
    case 'write':
      try {
        database.write(message.rows)
        return answer({ type: 'written', error: null })
      } catch (error) {
        return answer({ type: 'written', error: reasonOf(error) })
      }
    case 'list':
      try {
        return answer({ type: 'listed', query: message.query, decisions: database.list(message.of), error: null })
      } catch (error) {
        return answer({ type: 'listed', query: message.query, decisions: [], error: reasonOf(error) })
      }
    case 'close':
      database[Symbol.dispose]()
      parentPort?.close()
  }
})

answer({ type: 'ready' })
