import { readFile } from 'node:fs/promises'
import { z } from 'zod'

/** A process, told apart from a later one of the same number by when it started (clock ticks since boot) and by the boot itself. */
export const processIdentity = z.object({ pid: z.int().positive(), start: z.string(), boot: z.string() })
export type ProcessIdentity = z.infer<typeof processIdentity>

/** undefined: no such process, or only its zombie. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat === undefined) return undefined
  // The name in parentheses may hold anything; after the last one come state (field 3) … start time (field 22).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, start] = [fields[0], fields[19]]
  if (start === undefined || state === 'Z' || state === 'X') return undefined
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  return { pid, start, boot }
}

export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await identify(identity.pid)
  return now !== undefined && now.start === identity.start && now.boot === identity.boot
}

/** Sends SIGKILL to exactly this process; does nothing when it has ended. */
export async function killProcess(identity: ProcessIdentity): Promise<void> {
  if (!(await isAlive(identity))) return
  try {
    process.kill(identity.pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
