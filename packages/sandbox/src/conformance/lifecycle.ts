import { describe, expect } from 'vitest'
import { Bench, inSeconds, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'

export function lifecycle(test: DriverUnderTest): void {
  describe('lifecycle', () => {
    promise(test, 'launches the runner, with its environment and nothing else of the host', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox({ env: { BERTH_SANDBOX_ID: 'x', CANARY: 'a b="c"' } })
      const env = await sandbox.probe.runner(() => process.env)
      expect(env['CANARY']).toBe('a b="c"')
      expect(Object.keys(env).sort()).toEqual(['BERTH_SANDBOX_ID', 'CANARY', 'HOME', 'PATH'])
    })

    promise(test, 'gives agents a workspace, a home and outputs of their own, and a scratch directory', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox()
      const written = await sandbox.probe.agent(() => {
        const fs = process.getBuiltinModule('node:fs')
        fs.mkdirSync('/home/me', { mode: 0o700 })
        return ['/workspace/a', '/home/me/a', '/mnt/session/outputs/a', '/tmp/a', '/var/tmp/b', '/dev/shm/a'].map(
          (path) => {
            fs.writeFileSync(path, 'x')
            return fs.readFileSync(path, 'utf8')
          },
        )
      })
      expect(written.join('')).toBe('xxxxxx')
    })

    promise(test, 'reaps the orphans that agents leave', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox()
      await sandbox.probe.agent(() => {
        const { execFileSync } = process.getBuiltinModule('node:child_process')
        execFileSync('/bin/sh', ['-c', 'for i in $(seq 500); do (sleep 0.01 &) ; done'])
      })
      await until(async () => {
        const states = await sandbox.probe.runner(() => {
          const fs = process.getBuiltinModule('node:fs')
          const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))
          return pids.flatMap((pid) => {
            try {
              return /^State:\t(.)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? []
            } catch {
              return []
            }
          })
        })
        return states.length <= 3 && !states.includes('Z')
      })
    })

    promise(test, 'answers get as it is: running, then undefined once destroyed', async () => {
      await using bench = await Bench.open(test)
      expect(await bench.driver.get('sbx_never')).toBeUndefined()
      const ref = await bench.driver.create(bench.spec({ labels: { a: '1' } }))
      expect(ref.state).toBe('running')
      expect(await bench.driver.get(ref.id)).toEqual(ref)
      await bench.driver.destroy(ref.id)
      expect(await bench.driver.get(ref.id)).toBeUndefined()
      expect(await bench.leftovers()).toEqual([])
    })

    promise(test, 'ends a whole process tree that would not go by itself within 5 s', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox()
      await sandbox.probe.agent(() => {
        const { spawn } = process.getBuiltinModule('node:child_process')
        const deaf = 'trap "" TERM INT HUP QUIT; while :; do sleep 1; done'
        const programs = [
          deaf,
          // A daemon: of another session, without a parent, and with nothing open.
          `(setsid sh -c '${deaf}' <&- >&- 2>&- &) &`,
          `kill -STOP $$`,
          // One that is always another.
          `f() { (sleep 0.05; f) & }; f`,
        ]
        for (const program of programs) spawn('/bin/sh', ['-c', program], { detached: true, stdio: 'ignore' }).unref()
      })
      const started = performance.now()
      await bench.driver.destroy(sandbox.ref.id)
      expect(performance.now() - started).toBeLessThan(5000)
      expect(await bench.leftovers()).toEqual([])
    })

    promise(test, 'is gone when its runner has ended', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox()
      await sandbox.probe.runner(() => process.kill(process.ppid, 'SIGKILL')).catch(() => {})
      await until(async () => (await bench.driver.get(sandbox.ref.id))?.state === 'gone')
    })

    promise(test, 'ends by itself when its time has run out, and not while it is renewed', async () => {
      await using bench = await Bench.open(test)
      const soon = inSeconds(2)
      const [short, renewed] = [bench.spec({ until: soon }), bench.spec({ until: soon })]
      await bench.driver.create(renewed)
      await bench.driver.renew(renewed.id, inSeconds(3600), 1)
      await bench.driver.create(short)
      await until(async () => (await bench.driver.get(short.id))?.state === 'gone')
      expect(Date.now()).toBeGreaterThanOrEqual(soon.getTime())
      expect((await bench.driver.get(renewed.id))?.state).toBe('running')
      await bench.driver.renew(renewed.id, inSeconds(-1), 1)
      await until(async () => (await bench.driver.get(renewed.id))?.state === 'gone')
      await expect(bench.driver.renew(renewed.id, inSeconds(60), 1)).rejects.toMatchObject({ code: 'not_found' })
    })

    promise(test, 'lives on when the driver that made it is closed', async () => {
      await using bench = await Bench.open(test)
      const other = await test.open(bench.input)
      const ref = await other.create(bench.spec())
      await other[Symbol.asyncDispose]()
      expect(await bench.driver.get(ref.id)).toEqual(ref)
    })
  })
}
