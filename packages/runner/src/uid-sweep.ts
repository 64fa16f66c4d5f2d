import { setTimeout as sleep } from 'node:timers/promises'
import { processesOf, signalProcess } from './uid-processes.ts'

/** A process that forks while it is swept, or takes its time to die, is met again in the next round. */
const ROUNDS = 50
const PAUSE_MS = 5

/**
 * Kills every process of a uid, whatever its group or session. Gives up after fifty rounds: what forks faster than it is killed ends
 * with the sandbox. Throws for the uid of this process, which it would end too.
 */
export async function killAllOf(uid: number): Promise<void> {
  if (uid === 0 || uid === process.getuid?.()) throw new Error(`refusing to kill everything of uid ${uid}`)
  for (let round = 0; round < ROUNDS; round++) {
    const found = processesOf(uid)
    if (found.length === 0) return
    for (const { pid } of found) signalProcess(pid, 'SIGKILL')
    await sleep(PAUSE_MS)
  }
}
