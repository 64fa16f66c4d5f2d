import { describe, expect } from 'vitest'
import { Bench, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'

const MIB = 1024 * 1024
const PIDS = 64

export function floods(test: DriverUnderTest): void {
  const { processes } = test
  describe('floods', () => {
    promise(test, 'a fork bomb ends at the limit, harms no other, and its sandbox is ended at once', async () => {
      await using bench = await Bench.open(test)
      const limits = { cpus: 1, memoryBytes: 256 * MIB, diskBytes: 64 * MIB, pids: PIDS, files: 1024 }
      await using one = await bench.sandbox({ limits })
      await using two = await bench.sandbox()
      await one.probe.agent(lightBomb)
      if (processes !== undefined) await until(async () => (await processes(bench.input, one.ref)) > PIDS / 2)
      for (let look = 0; look < 5; look++) {
        expect(await two.probe.agent(() => process.getuid?.())).toBe(1000)
        if (processes !== undefined) expect(await processes(bench.input, one.ref)).toBeLessThanOrEqual(PIDS)
      }
      const began = performance.now()
      await bench.driver.destroy(one.ref.id)
      expect(performance.now() - began).toBeLessThan(5_000)
      if (processes !== undefined) expect(await processes(bench.input, one.ref)).toBe(0)
      expect((await bench.leftovers()).filter((line) => line.includes(one.ref.id))).toEqual([])
    })

    promise(test, 'what is in no file counts as memory, and threads count as processes', async () => {
      await using bench = await Bench.open(test)
      const limits = { cpus: 2, memoryBytes: 192 * MIB, diskBytes: 64 * MIB, pids: PIDS, files: 1024 }
      await using sandbox = await bench.sandbox({ limits })
      const threads = await sandbox.probe.agent(startThreads)
      if (threads !== 'no python') {
        expect(threads).toBeGreaterThan(8)
        expect(threads).toBeLessThan(PIDS)
      }
      const end = await sandbox.probe.agentOutcome(fillAnonymousFile)
      if (end === 'lost') return
      expect(end.stdout === '"no python"' ? 'SIGKILL' : end.signal).toBe('SIGKILL')
    })

    promise(test, 'a file larger than the disk costs what is in it', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.diskQuota) return
      await using sandbox = await bench.sandbox()
      const TIB = 1024 ** 4
      const made = await sandbox.probe.agent(makeHoles, TIB)
      expect(made).toEqual({ size: TIB, blocks: expect.any(Number), links: 1001, other: 'written' })
      expect(made.blocks * 512).toBeLessThan(MIB)
    })
  })
}

function lightBomb() {
  const { spawn } = process.getBuiltinModule('node:child_process')
  const bomb = 'b() { b | b & }; while :; do b; done'
  spawn('/bin/bash', ['-c', bomb], { detached: true, stdio: 'ignore' }).unref()
}

/** How many there could be. */
function startThreads() {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  if (!process.getBuiltinModule('node:fs').existsSync('/usr/bin/python3')) return 'no python'
  const script = `
import threading
gate, count = threading.Event(), 0
threading.stack_size(65536)
try:
    while count < 10000:
        threading.Thread(target=gate.wait, daemon=True).start()
        count += 1
except RuntimeError: pass
print(count)
`
  return Number(spawnSync('/usr/bin/python3', ['-c', script], { encoding: 'utf8' }).stdout)
}

/** Becomes the program itself, so that its end is seen. */
function fillAnonymousFile() {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  if (!process.getBuiltinModule('node:fs').existsSync('/usr/bin/python3')) return 'no python'
  const script = `
import os
fd = os.memfd_create('hog')
for n in range(400): os.write(fd, bytes(1024 * 1024))
`
  const { signal } = spawnSync('/usr/bin/python3', ['-c', script])
  if (signal !== null) process.kill(process.pid, signal)
  return 'no end'
}

function makeHoles(size: number) {
  const fs = process.getBuiltinModule('node:fs')
  fs.writeFileSync('/workspace/holes', 'x')
  fs.truncateSync('/workspace/holes', size)
  for (let n = 0; n < 1000; n++) fs.linkSync('/workspace/holes', `/workspace/link${n}`)
  fs.writeFileSync('/workspace/other', 'written')
  const at = fs.statSync('/workspace/holes')
  return {
    size: at.size,
    blocks: at.blocks,
    links: at.nlink,
    other: fs.readFileSync('/workspace/other', 'utf8'),
  }
}
