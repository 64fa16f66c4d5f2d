/** Memory of processes, as the kernel divides it: a page that n processes share counts for each with an n-th. */
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

/** The process and all that descend from it. */
export async function treeOf(root: number): Promise<Process[]> {
  const all = await processes()
  const found = all.filter(({ pid }) => pid === root)
  for (const { pid } of found) found.push(...all.filter(({ parent }) => parent === pid))
  return found
}

async function processes(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
      const [, command = '', parent = ''] = /^\d+ \((.*)\) \S (\d+) /s.exec(stat) ?? []
      return { pid: Number(pid), parent: Number(parent), command }
    }),
  )
  return found.filter(({ command }) => command !== '')
}

/** MiB; 0 for a process that has ended. */
export async function pssOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  return Number(/^Pss: +(\d+)/m.exec(text)?.[1] ?? 0) / 1024
}

/** Asks again until two answers lie within a hundredth of each other: what is measured has come to rest. */
export async function settled(measure: () => Promise<number>): Promise<number> {
  for (let last = await measure(); ;) {
    await sleep(1_000)
    const now = await measure()
    if (Math.abs(now - last) <= last / 100) return now
    last = now
  }
}

/** How long its threads have run, in ms; without those that have ended, so 0 for a process that has. */
export async function cpuOf(pid: number): Promise<number> {
  let nanoseconds = 0
  for (const task of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const text = await readFile(`/proc/${pid}/task/${task}/schedstat`, 'utf8').catch(() => '')
    nanoseconds += Number(text.split(' ')[0])
  }
  return nanoseconds / 1e6
}
