/** Thread of the audit's file, so that nobody but it waits for the disk. */
import { parentPort, workerData } from 'node:worker_threads'
import { AuditDatabase } from './audit-database.ts'
import {
  type AuditAnswer,
  auditWorkerData,
  type FromAuditWorker,
  type ToAuditWorker,
  toAuditWorker,
} from './audit-message.ts'

const { path, bounds } = auditWorkerData.parse(workerData)
const database = new AuditDatabase(path, bounds)

function answer(message: FromAuditWorker): void {
  parentPort?.postMessage(message)
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function answerTo(message: Extract<ToAuditWorker, { query: number }>): AuditAnswer {
  const { query } = message
  if (message.type === 'list') return { type: 'listed', query, decisions: database.list(message.of) }
  if (message.type === 'find_traffic')
    return { type: 'traffic', query, traffic: database.traffic.find(message.session_id) }
  database.traffic.add(message.rows)
  return { type: 'traffic_added', query }
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
    case 'add_traffic':
    case 'find_traffic':
      try {
        return answer(answerTo(message))
      } catch (error) {
        return answer({ type: 'failed', query: message.query, error: reasonOf(error) })
      }
    case 'close':
      database[Symbol.dispose]()
      parentPort?.close()
  }
})

answer({ type: 'ready' })
