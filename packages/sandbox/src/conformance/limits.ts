import { describe, expect } from 'vitest'
import { Bench, promise } from './context.ts'
import type { DriverUnderTest } from './context.ts'

const MIB = 1024 * 1024

export function limits(test: DriverUnderTest): void {
  const base = { cpus: 2, memoryBytes: 512 * MIB, diskBytes: 64 * MIB, pids: 128, files: 1024 }

  describe('limits', () => {
    promise(test, 'kills what takes more memory than there is', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox({ limits: { ...base, memoryBytes: 192 * MIB } })
      const end = await sandbox.probe.agentOutcome(() => {
        const held = []
        for (let megabytes = 0; megabytes < 400; megabytes++) held.push(Buffer.alloc(1024 * 1024, 1))
        return held.length
      })
      expect(end === 'lost' ? 'SIGKILL' : end.signal).toBe('SIGKILL')
    })

    promise(test, 'counts what is written to memory file systems, which are smaller than memory', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox({ limits: { ...base, memoryBytes: 192 * MIB } })
      const errors = await sandbox.probe.agent(() => {
        const fs = process.getBuiltinModule('node:fs')
        return ['/tmp/full', '/dev/shm/full'].map((path) => {
          const file = fs.openSync(path, 'w')
          try {
            for (let megabytes = 0; megabytes < 192; megabytes++) fs.writeSync(file, Buffer.alloc(1024 * 1024))
            return 'no end'
          } catch (error) {
            return error instanceof Error && 'code' in error ? error.code : error
          } finally {
            fs.closeSync(file)
            fs.unlinkSync(path)
          }
        })
      })
      expect(errors).toEqual(['ENOSPC', 'ENOSPC'])
    })

    promise(test, 'refuses more processes than allowed, and stays manageable', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox({ limits: { ...base, pids: 48 } })
      const spawned = await sandbox.probe.agent(async () => {
        const { spawn } = process.getBuiltinModule('node:child_process')
        const children = Array.from({ length: 80 }, () => spawn('/bin/sleep', ['60'], { stdio: 'ignore' }))
        const failed: unknown[] = []
        for (const child of children) child.on('error', (error) => failed.push('code' in error ? error.code : error))
        await new Promise((resolve) => setImmediate(resolve))
        for (const child of children) child.kill('SIGKILL')
        return { alive: children.filter((child) => child.pid !== undefined).length, failed }
      })
      expect(spawned.alive).toBeGreaterThan(0)
      expect(spawned.alive).toBeLessThan(48)
      expect(new Set(spawned.failed)).toEqual(new Set(['EAGAIN']))
    })

    promise(test, 'gives no more processor time than allowed', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox({ limits: { ...base, cpus: 0.25 } })
      const share = await sandbox.probe.agent(() => {
        const [wall, cpu] = [performance.now(), process.cpuUsage()]
        while (performance.now() - wall < 2000);
        const used = process.cpuUsage(cpu)
        return (used.user + used.system) / 1000 / (performance.now() - wall)
      })
      expect(share).toBeGreaterThan(0.02)
      expect(share).toBeLessThan(0.4)
    })

    promise(test, 'ends writing when the disk is full, without the host noticing', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.diskQuota) return
      await using sandbox = await bench.sandbox()
      const result = await sandbox.probe.agent(() => {
        const fs = process.getBuiltinModule('node:fs')
        const file = fs.openSync('/workspace/full', 'w')
        let written = 0
        try {
          for (let megabytes = 0; megabytes < 200; megabytes++)
            written += fs.writeSync(file, Buffer.alloc(1024 * 1024, 7))
        } catch (error) {
          return { written, code: error instanceof Error && 'code' in error ? error.code : error }
        }
        return { written, code: 'no end' }
      })
      expect(result.code).toBe('ENOSPC')
      expect(result.written).toBeGreaterThan(40 * MIB)
      expect(result.written).toBeLessThan(64 * MIB)
    })

    promise(test, 'ends making files when the disk is full of them', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.diskQuota) return
      await using sandbox = await bench.sandbox({ limits: { ...base, diskBytes: 16 * MIB } })
      const code = await sandbox.probe.agent(() => {
        const fs = process.getBuiltinModule('node:fs')
        try {
          for (let n = 0; n < 100_000; n++) fs.closeSync(fs.openSync(`/workspace/${n}`, 'w'))
          return 'no end'
        } catch (error) {
          return error instanceof Error && 'code' in error ? error.code : error
        }
      })
      expect(code).toBe('ENOSPC')
    })

    promise(test, 'opens no more files per process than allowed, for agents and for the runner', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox({ limits: { ...base, files: 100 } })
      const open = (): unknown => {
        const fs = process.getBuiltinModule('node:fs')
        let count = 0
        try {
          for (; count < 1000; count++) fs.openSync('/dev/null', 'r')
        } catch (error) {
          return { few: count < 100, code: error instanceof Error && 'code' in error ? error.code : error }
        }
        return { few: false, code: 'no end' }
      }
      expect(await sandbox.probe.agent(open)).toEqual({ few: true, code: 'EMFILE' })
      expect(await sandbox.probe.runner(open)).toEqual({ few: true, code: 'EMFILE' })
      const raised = await sandbox.probe.runner(() => {
        const { spawnSync } = process.getBuiltinModule('node:child_process')
        return spawnSync('/bin/sh', ['-c', 'ulimit -n 101']).status
      })
      expect(raised).not.toBe(0)
    })

    promise(test, 'writes no core files, and has no program of the host started for one', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox()
      const crash = (attempts: string[]) => {
        const { spawnSync } = process.getBuiltinModule('node:child_process')
        const ends = attempts.map((attempt) => {
          const script = `${attempt} 2>/dev/null; grep -o 'core.*[0-9]' /proc/self/limits; kill -SEGV $$`
          const died = spawnSync('/bin/sh', ['-c', script], { cwd: '/workspace', encoding: 'utf8' })
          return `${died.stdout.split(/\s+/).slice(3, 5).join()} ${died.signal}`
        })
        return { ends: [...new Set(ends)], files: process.getBuiltinModule('node:fs').readdirSync('/workspace') }
      }
      const attempts = ['true', 'ulimit -c 0', 'ulimit -S -c 0', 'ulimit -H -c 0', 'ulimit -c unlimited']
      // 1, and not 0, is what keeps the kernel from giving the core to a program.
      const wanted = { ends: ['1,1 SIGSEGV'], files: [] }
      expect(await sandbox.probe.agent(crash, attempts)).toEqual(wanted)
      expect(await sandbox.probe.runner(crash, attempts)).toEqual(wanted)
    })
  })
}
