import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freeze } from './freeze.ts'
import { isRoot } from './testing/file-tree.ts'
import { processesOf, processOf } from './uid-processes.ts'
import { killAllOf } from './uid-sweep.ts'

const uid = 300_000 + (process.pid % 40_000) * 20
const other = uid + 1
const never = new AbortController().signal
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bf-'))
  chmodSync(dir, 0o777)
})
afterEach(async () => {
  if (isRoot) await Promise.all([killAllOf(uid), killAllOf(other)])
  rmSync(dir, { recursive: true })
})

function run(script: string, as = uid): ChildProcess & { readonly pid: number } {
  const child = spawn('/bin/sh', ['-c', script], { uid: as, gid: as, cwd: dir, stdio: 'ignore', detached: true })
  const { pid } = child
  if (pid === undefined) throw new Error('the shell did not start')
  return Object.assign(child, { pid })
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2))
}

const stateOf = (pid: number, as = uid): string | undefined => processOf(pid, as)?.state
const lines = (name: string): number => {
  try {
    return readFileSync(join(dir, name)).length
  } catch {
    return 0
  }
}

describe.skipIf(!isRoot)('a frozen session', () => {
  it('does nothing, not even what forks all the time, and goes on afterwards', async () => {
    for (let count = 0; count < 3; count++) run(`while :; do (echo x >>forked); (: & : & wait); done`)
    run('while :; do echo x >>busy; done')
    await until(() => lines('forked') > 100 && lines('busy') > 100)
    {
      using _frozen = await freeze(uid, undefined, never)
      const before = [lines('forked'), lines('busy')]
      const pids = processesOf(uid).map(({ pid }) => pid)
      expect(processesOf(uid).filter(({ state }) => !/[TtD]/.test(state))).toEqual([])
      // Time in which the processes of others do a lot.
      const witness = run('for i in $(seq 1000); do echo x >>witness; done', other)
      await until(() => witness.exitCode !== null)
      expect(lines('witness')).toBe(2_000)
      expect([lines('forked'), lines('busy')]).toEqual(before)
      expect(processesOf(uid).map(({ pid }) => pid)).toEqual(pids)
    }
    const after = [lines('forked'), lines('busy')]
    await until(() => lines('forked') > (after[0] ?? 0) + 100 && lines('busy') > (after[1] ?? 0))
  })

  it('keeps stopped what was stopped before, and spares the helper and other uids', async () => {
    const stopped = run('kill -STOP $$; while :; do echo x >>stopped; done')
    const worker = run('while :; do :; done')
    const helper = run('while :; do :; done')
    const stranger = run('while :; do :; done', other)
    await until(() => stateOf(stopped.pid) === 'T')
    {
      using _frozen = await freeze(uid, helper.pid, never)
      expect(stateOf(worker.pid)).toBe('T')
      expect(stateOf(helper.pid)).not.toBe('T')
      expect(stateOf(stranger.pid, other)).not.toBe('T')
    }
    await until(() => stateOf(worker.pid) === 'R')
    expect(stateOf(stopped.pid)).toBe('T')
    expect(lines('stopped')).toBe(0)
  })

  it('goes on when freezing is given up', async () => {
    const worker = run('while :; do :; done')
    await expect(freeze(uid, undefined, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
    expect(stateOf(worker.pid)).not.toBe('T')
  })

  it('may be ended while it is frozen', async () => {
    const worker = run('while :; do :; done')
    using _frozen = await freeze(uid, undefined, never)
    await killAllOf(uid)
    expect(stateOf(worker.pid)).toBeUndefined()
  })
})

it('never stops the uid of the runner', async () => {
  await expect(freeze(process.getuid?.() ?? 0, undefined, never)).rejects.toThrow('refusing')
  await expect(freeze(0, undefined, never)).rejects.toThrow('refusing')
})
