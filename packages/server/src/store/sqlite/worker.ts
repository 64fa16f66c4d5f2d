/** The store's worker thread: one connection, calls in order, as many in one commit as have come in meanwhile (group commit). */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { answerBatch } from './batch.ts'
import { type Connection, openConnection } from './connection.ts'
import { explainFault } from './faults.ts'
import { migrate } from './migrate.ts'
import type { Call, FromWorker, ToWorker, WorkerOptions } from './messages.ts'

const MAX_BATCH = 256

function run(options: WorkerOptions, port: MessagePort): void {
  const post = (message: FromWorker): void => port.postMessage(message)
  const connection = open(options)
  const begin = options.role === 'writer' ? 'BEGIN IMMEDIATE' : 'BEGIN'
  const queue: Call[] = []
  let working = false
  let closing = false
  let isClosed = false

  async function drain(): Promise<void> {
    working = true
    while (queue.length > 0) {
      post({ type: 'answers', answers: await answerBatch(connection, begin, queue.splice(0, MAX_BATCH)) })
      // Let the messages in that came while the commit waited for the disk: they are the next batch.
      await new Promise((resolve) => setImmediate(resolve))
    }
    working = false
    if (closing) {
      isClosed = true
      connection[Symbol.dispose]()
      port.close()
    }
  }

  port.on('message', (message: ToWorker) => {
    // Too late: the thread's end tells the caller.
    if (isClosed) return
    if (message.type === 'close') closing = true
    else queue.push(message.call)
    if (!working) void drain()
  })
  post({ type: 'ready' })
}

function open({ path, role }: WorkerOptions): Connection {
  try {
    const connection = openConnection(path, { readOnly: role === 'reader' })
    if (role === 'writer') migrate(connection.raw)
    return connection
  } catch (error) {
    throw explainFault(error, path)
  }
}

const { path, role }: WorkerOptions = workerData
if (parentPort !== null) run({ path, role }, parentPort)
