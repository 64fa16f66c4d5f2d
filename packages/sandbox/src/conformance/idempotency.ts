import { basename } from 'node:path'
import { describe, expect } from 'vitest'
import { Bench, inSeconds, promise } from './context.ts'
import type { DriverUnderTest } from './context.ts'

export function idempotency(test: DriverUnderTest): void {
  describe('idempotency', () => {
    promise(test, 'answers a second create with the sandbox of the first, unchanged', async () => {
      await using bench = await Bench.open(test)
      const spec = bench.spec({ labels: { a: '1' } })
      const first = await bench.driver.create(spec)
      expect(await bench.driver.create({ ...spec, labels: { a: '2' } })).toEqual(first)
    })

    promise(test, 'makes one sandbox of many creates at once, also by several drivers', async () => {
      await using bench = await Bench.open(test)
      await using other = await test.open(bench.input)
      const spec = bench.spec()
      const refs = await Promise.all([bench.driver, other, bench.driver, other].map((driver) => driver.create(spec)))
      for (const ref of refs) expect(ref).toEqual(refs[0])
      if (bench.driver.capabilities.list) expect(await bench.driver.list()).toHaveLength(1)
    })

    promise(test, 'gives sandboxes made at once ids of their own', async () => {
      await using bench = await Bench.open(test)
      await using other = await test.open(bench.input)
      const refs = await Promise.all(
        [bench.driver, other, bench.driver, other].map((driver) => driver.create(bench.spec())),
      )
      expect(new Set(refs.map((ref) => ref.uidBase)).size).toBe(4)
    })

    promise(test, 'destroys twice at once, by several drivers, and what does not exist', async () => {
      await using bench = await Bench.open(test)
      await using other = await test.open(bench.input)
      const { id } = await bench.driver.create(bench.spec())
      await Promise.all([bench.driver.destroy(id), other.destroy(id), bench.driver.destroy(id)])
      expect(await bench.driver.get(id)).toBeUndefined()
      await bench.driver.destroy(id)
      expect(await bench.leftovers()).toEqual([])
    })

    promise(test, 'leaves nothing when create and destroy of one id meet', async () => {
      await using bench = await Bench.open(test)
      await using other = await test.open(bench.input)
      const spec = bench.spec()
      for (let round = 0; round < 5; round++) {
        await Promise.allSettled([bench.driver.create(spec), other.destroy(spec.id)])
        await bench.driver.destroy(spec.id)
        expect(await bench.leftovers()).toEqual([])
      }
    })

    promise(test, 'makes an id again after its destroy', async () => {
      await using bench = await Bench.open(test)
      const spec = bench.spec()
      await bench.driver.create(spec)
      await bench.driver.destroy(spec.id)
      expect((await bench.driver.create(spec)).state).toBe('running')
    })

    promise(test, 'leaves nothing of a create that was given up', async () => {
      await using bench = await Bench.open(test)
      const stop = new AbortController()
      const created = bench.driver.create(bench.spec(), stop.signal)
      setImmediate(() => stop.abort(new Error('given up')))
      await expect(created).rejects.toThrow('given up')
      expect(await bench.leftovers()).toEqual([])
    })

    promise(test, 'knows no sandbox by an id that leads elsewhere', async () => {
      await using bench = await Bench.open(test)
      const { id } = await bench.driver.create(bench.spec())
      for (const detour of [`../${basename(bench.input.stateDir)}/${id}`, `./${id}`, '..', '.', '', `${id}/run`]) {
        expect(await bench.driver.get(detour)).toBeUndefined()
        await bench.driver.destroy(detour)
        await expect(bench.driver.renew(detour, inSeconds(60), 1)).rejects.toMatchObject({ code: 'not_found' })
      }
      expect((await bench.driver.get(id))?.state).toBe('running')
    })

    promise(test, 'refuses a spec that it cannot honour, naming the field', async () => {
      await using bench = await Bench.open(test)
      const spec = bench.spec()
      const refused = { code: 'invalid_request' }
      await expect(bench.driver.create({ ...spec, id: '../x' })).rejects.toMatchObject(refused)
      await expect(bench.driver.create({ ...spec, image: '/no/such/image' })).rejects.toMatchObject(refused)
      await expect(bench.driver.create({ ...spec, limits: { ...spec.limits, memoryBytes: 0 } })).rejects.toThrow(
        'memoryBytes',
      )
      await expect(bench.driver.create({ ...spec, env: { 'A=B': 'c' } })).rejects.toMatchObject(refused)
      expect(await bench.leftovers()).toEqual([])
    })
  })
}
