import { RemoteFailure } from './remote-failure.ts'

/**
 * Does a task with a signal of its own, which is aborted with the outer one or when the time is over; never once the task is done, for then the
 * client would cancel a request that has its answer. Rejects with `RemoteFailure` when the time is over.
 */
export async function inLimitedTime<T>(
  outer: AbortSignal,
  ms: number,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer.throwIfAborted()
  const inner = new AbortController()
  const stop = (): void => inner.abort()
  outer.addEventListener('abort', stop, { once: true })
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    stop()
  }, ms)
  try {
    return await task(inner.signal)
  } catch (error) {
    throw isLate ? new RemoteFailure('connection', `did not answer within ${Math.round(ms / 1_000)} seconds`) : error
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', stop)
  }
}
