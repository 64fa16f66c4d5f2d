import { setTimeout as sleep } from 'node:timers/promises'
import { processesOf, processOf, signalProcess } from './uid-processes.ts'

/** A process that is seen by nobody because it has just been forked is seen in the next round: so many must find nothing new. */
const QUIET_ROUNDS = 2
const ROUNDS = 400
const PAUSE_MS = 2
const STOPPED = new Set(['T', 't'])

/**
 * Stops every process of a uid but `exempt`, and resolves when none of them runs. Disposing the answer lets go on what was stopped by this,
 * and nothing else: what stood still before stays so. When it throws, because of the signal or because something could not be stopped, all
 * goes on as before. Throws for the uid of this process, which it would stop too.
 */
export async function freeze(uid: number, exempt: number | undefined, signal: AbortSignal): Promise<Disposable> {
  if (uid === 0 || uid === process.getuid?.()) throw new Error(`refusing to stop everything of uid ${uid}`)
  const stopped = new Set<number>()
  const thaw = (): void => {
    for (const pid of stopped) if (processOf(pid, uid) !== undefined) signalProcess(pid, 'SIGCONT')
  }
  try {
    for (let round = 0, quiet = 0; quiet < QUIET_ROUNDS; round++) {
      signal.throwIfAborted()
      if (round === ROUNDS) throw new Error('the processes of the session cannot be stopped')
      const running = processesOf(uid).filter(({ pid, state }) => pid !== exempt && !STOPPED.has(state))
      // One that waits in the kernel does nothing of its own before it has taken the signal.
      quiet = running.every(({ pid, state }) => stopped.has(pid) && state === 'D') ? quiet + 1 : 0
      for (const { pid } of running) {
        if (!stopped.has(pid)) signalProcess(pid, 'SIGSTOP')
        stopped.add(pid)
      }
      if (quiet === 0) await sleep(PAUSE_MS)
    }
  } catch (error) {
    thaw()
    throw error
  }
  return { [Symbol.dispose]: thaw }
}
