import { readdirSync, readFileSync } from 'node:fs'

export interface UidProcess {
  readonly pid: number
  /** Letter of the kernel: R runs, S and D wait, T and t are stopped. */
  readonly state: string
}

/** Every living process of a uid, whatever its group or session. Zombies are none. */
export function processesOf(uid: number): UidProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processOf(Number(name), uid))
    .filter((process) => process !== undefined)
}

/** Undefined when it has ended or is another uid's. */
export function processOf(pid: number, uid: number): UidProcess | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const state = /^State:\s+(\w)/m.exec(status)?.[1] ?? 'X'
    return new RegExp(`^Uid:\\s+${uid}\\s`, 'm').test(status) && !/[ZX]/.test(state) ? { pid, state } : undefined
  } catch {
    return undefined
  }
}

/** Whether a process is stopped. One that has ended is not. */
export function isStopped(pid: number): boolean {
  try {
    return /^State:\s+[Tt]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** A process that has ended meanwhile is none to speak of. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It was faster.
  }
}
