/** Opens the SQLite store: one worker that writes, one that reads, and the typed face of both on this thread. */
import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import { BerthError } from '@berth/protocol'
import { operations } from '../operations.ts'
import type { Once } from '../run-once.ts'
import { isRead, type Store } from '../store.ts'
import type { Answer, Failure, FromWorker, ToWorker, WorkerOptions } from './messages.ts'

const MAX_OUTSTANDING = 20_000

/** Rejects, leaving the file as it was, when it is damaged or of a newer version. */
export async function openSqliteStore(path: string): Promise<Store> {
  const writer = await openWorker({ path, role: 'writer' })
  const reader = await openWorker({ path, role: 'reader' })
  const calls = Object.fromEntries(
    Object.keys(operations).map((name) => {
      const worker = isRead(name) ? reader : writer
      return [name, (args: unknown, once?: Once) => worker.call(name, args, once)]
    }),
  )
  const dispose = async (): Promise<void> => {
    await reader.close()
    await writer.close()
  }
  // The registry has just been walked: every operation of it is in `calls`, run by the very function its type is taken from.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { ...calls, [Symbol.asyncDispose]: dispose } as unknown as Store
}

interface WorkerClient {
  call(operation: string, args: unknown, once: Once | undefined): Promise<unknown>
  close(): Promise<void>
}

async function openWorker(options: WorkerOptions): Promise<WorkerClient> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: options,
    name: `store-${options.role}`,
  })
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  let lastId = 0
  let ended: Error | undefined

  const end = (error: Error): void => {
    ended ??= error
    for (const call of waiting.values()) call.reject(ended)
    waiting.clear()
  }
  const settle = (answer: Answer): void => {
    const call = waiting.get(answer.id)
    waiting.delete(answer.id)
    if (answer.ok) call?.resolve(answer.value)
    else call?.reject(toError(answer.failure))
  }
  const ready = Promise.withResolvers<void>()
  worker.on('message', (message: FromWorker) => {
    if (message.type === 'ready') ready.resolve()
    else message.answers.forEach(settle)
  })
  worker.on('error', (error) => {
    const cause = error instanceof Error ? error : new Error(String(error))
    ready.reject(cause)
    end(cause)
  })
  worker.on('exit', () => end(new BerthError('unavailable', 'the store is closed')))
  await ready.promise

  return {
    call: (operation, args, once) => {
      if (ended !== undefined) return Promise.reject(ended)
      if (waiting.size >= MAX_OUTSTANDING)
        return Promise.reject(new BerthError('unavailable', 'the store is overloaded'))
      const id = ++lastId
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        worker.postMessage({ type: 'call', call: { id, operation, args, once } } satisfies ToWorker)
      })
    },
    close: async () => {
      if (ended !== undefined) return
      const exited = once(worker, 'exit')
      worker.postMessage({ type: 'close' } satisfies ToWorker)
      await exited
    },
  }
}

function toError(failure: Failure): Error {
  if (failure.code !== undefined) {
    return new BerthError(
      failure.code,
      failure.message,
      failure.details === undefined ? {} : { details: { ...failure.details } },
    )
  }
  const error = new Error(failure.message)
  if (failure.stack !== undefined) error.stack = failure.stack
  return error
}
