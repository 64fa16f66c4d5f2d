import { describe, expect } from 'vitest'
import { Bench, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'

export function labels(test: DriverUnderTest): void {
  describe('labels', () => {
    promise(test, 'lists the sandboxes whose labels include those asked for, or says that it cannot', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.list) {
        await expect(bench.driver.list()).rejects.toMatchObject({ code: 'unsupported' })
        return
      }
      const a = await bench.driver.create(bench.spec({ labels: { owner: 'a', kind: 'x' } }))
      const b = await bench.driver.create(bench.spec({ labels: { owner: 'b', kind: 'x' } }))
      const found = async (wanted?: Record<string, string>): Promise<string[]> =>
        (await bench.driver.list(wanted)).map((ref) => ref.id).sort()
      expect(await found()).toEqual([a.id, b.id].sort())
      expect(await found({ kind: 'x' })).toEqual([a.id, b.id].sort())
      expect(await found({ owner: 'a', kind: 'x' })).toEqual([a.id])
      expect(await found({ owner: 'c' })).toEqual([])
    })

    promise(test, 'lists the dead until they are destroyed', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.list || test.crash === undefined) return
      const ref = await bench.driver.create(bench.spec())
      await test.crash(bench.input, ref)
      await until(async () => (await bench.driver.get(ref.id))?.state === 'gone')
      expect(await bench.driver.list()).toEqual([{ ...ref, state: 'gone' }])
      await bench.driver.destroy(ref.id)
      expect(await bench.driver.list()).toEqual([])
    })

    promise(test, 'keeps labels out of the sandbox', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox({ labels: { tenant: 'canary-of-the-tenant' } })
      const seen = await sandbox.probe.runner(() => {
        const fs = process.getBuiltinModule('node:fs')
        const files = ['mountinfo', 'cgroup', 'environ', 'mounts'].map((name) => `/proc/self/${name}`)
        return [...files, '/etc/hostname'].map((path) => fs.readFileSync(path, 'utf8')).join('\n')
      })
      expect(seen).not.toContain('canary-of-the-tenant')
    })
  })
}
