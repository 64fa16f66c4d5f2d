import { describe, expect } from 'vitest'
import type { SandboxSpec } from '../driver.ts'
import { Bench, inSeconds, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'

const stale = { code: 'conflict', message: expect.stringContaining('epoch') }

export function epochs(test: DriverUnderTest): void {
  describe('epochs', () => {
    promise(test, 'refuses whatever comes under an epoch that has passed, also in another driver', async () => {
      await using bench = await Bench.open(test)
      const spec = bench.spec({ epoch: 3 })
      const ref = await bench.driver.create(spec)
      const old = { ...spec, epoch: 2 }
      const refused = async (driver: Bench['driver']): Promise<void> => {
        await expect(driver.create(old)).rejects.toMatchObject(stale)
        if (driver.capabilities.restart) await expect(driver.restart(old)).rejects.toMatchObject(stale)
        await expect(driver.renew(ref.id, inSeconds(0), 2)).rejects.toMatchObject(stale)
        await expect(driver.destroy(ref.id, 2)).rejects.toMatchObject(stale)
        expect(await driver.get(ref.id)).toEqual(ref)
      }
      await refused(bench.driver)
      await using other = await test.open(bench.input)
      await refused(other)
    })

    promise(test, 'takes the same epoch and a higher one, and then the lower one no more', async () => {
      await using bench = await Bench.open(test)
      const spec = bench.spec({ epoch: 1 })
      const ref = await bench.driver.create(spec)
      await bench.driver.renew(ref.id, inSeconds(3600), 1)
      await bench.driver.renew(ref.id, inSeconds(3600), 2)
      await expect(bench.driver.renew(ref.id, inSeconds(0), 1)).rejects.toMatchObject(stale)
      expect(await bench.driver.create({ ...spec, epoch: 10 })).toEqual(ref)
      await expect(bench.driver.destroy(ref.id, 9)).rejects.toMatchObject(stale)
      await bench.driver.destroy(ref.id, 10)
      expect(await bench.leftovers()).toEqual([])
    })

    promise(test, 'destroys what belongs to nobody under no epoch, and forgets its epoch with it', async () => {
      await using bench = await Bench.open(test)
      const spec = bench.spec({ epoch: 5 })
      await bench.driver.create(spec)
      await bench.driver.destroy(spec.id)
      expect((await bench.driver.create({ ...spec, epoch: 1 })).state).toBe('running')
      await bench.driver.destroy(spec.id, 1)
      await bench.driver.destroy(spec.id, 1)
    })
    const { crash } = test
    if (crash === undefined) return

    promise(test, 'remembers the epoch of a sandbox that has ended', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.restart) return
      const spec: SandboxSpec = bench.spec({ epoch: 4 })
      const ref = await bench.driver.create(spec)
      await crash(bench.input, ref)
      await until(async () => (await bench.driver.get(ref.id))?.state === 'gone')
      await expect(bench.driver.restart({ ...spec, epoch: 3 })).rejects.toMatchObject(stale)
      await expect(bench.driver.destroy(ref.id, 3)).rejects.toMatchObject(stale)
      expect((await bench.driver.get(ref.id))?.state).toBe('gone')
      expect(await bench.driver.restart({ ...spec, epoch: 5 })).toEqual(ref)
      await expect(bench.driver.destroy(ref.id, 4)).rejects.toMatchObject(stale)
    })
  })
}
