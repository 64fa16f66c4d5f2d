import { isStopped } from './uid-processes.ts'

const LOOK_MS = 3_000
/** Looks in a row that find it stopped: a moment of it is nothing. */
const LOOKS = 3

export interface StopWatchOptions {
  readonly pid: number
  readonly isFrozen: () => boolean
  /** Called once. */
  readonly onStopped: () => void
}

/**
 * Looks after a process that says nothing when it is stopped, and whose silence looks like work. Its agent has the same uid and can do that to it;
 * what the runner itself has stopped goes on again.
 */
export function watchForStop({ pid, isFrozen, onStopped }: StopWatchOptions): Disposable {
  let seen = 0
  const timer = setInterval(() => {
    seen = !isFrozen() && isStopped(pid) ? seen + 1 : 0
    if (seen < LOOKS) return
    clearInterval(timer)
    onStopped()
  }, LOOK_MS)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
