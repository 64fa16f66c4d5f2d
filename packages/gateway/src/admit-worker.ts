/** Thread that examines large bodies. */
import { parentPort } from 'node:worker_threads'
import { admit } from './admit.ts'
import { type FromAdmitWorker, toAdmitWorker } from './admit-message.ts'
import { Refusal } from './refusal.ts'

function examine(data: unknown): FromAdmitWorker {
  try {
    const { bytes, endpoint, policy } = toAdmitWorker.parse(data)
    const { body, ...rest } = admit(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), endpoint, policy)
    return { type: 'admitted', body, ...rest, answering: rest.answering === null ? null : [...rest.answering] }
  } catch (error) {
    if (error instanceof Refusal) return { type: 'refused', status: error.status, message: error.message }
    return { type: 'failed', message: String(error) }
  }
}

parentPort?.on('message', (data: unknown) => {
  const answer = examine(data)
  const owned = answer.type === 'admitted' && answer.body.byteLength === answer.body.buffer.byteLength
  parentPort?.postMessage(answer, owned && answer.body.buffer instanceof ArrayBuffer ? [answer.body.buffer] : [])
})
