import { describe, expect } from 'vitest'
import type { SandboxRef } from '../driver.ts'
import { Bench, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'
import { Probe } from './probe.ts'

type Crash = NonNullable<DriverUnderTest['crash']>

export function restart(test: DriverUnderTest): void {
  const { crash, damage } = test
  describe('restart', () => {
    promise(test, 'says that it cannot, where it has not declared that it can', async () => {
      await using bench = await Bench.open(test)
      if (bench.driver.capabilities.restart) return
      await expect(bench.driver.restart(bench.spec())).rejects.toMatchObject({ code: 'unsupported' })
    })

    promise(test, 'restarts nothing that is not there, and nothing that runs', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.restart) return
      const spec = bench.spec()
      await expect(bench.driver.restart(spec)).rejects.toMatchObject({ code: 'not_found' })
      const ref = await bench.driver.create(spec)
      await expect(bench.driver.restart(spec)).rejects.toMatchObject({ code: 'conflict' })
      expect(await bench.driver.get(spec.id)).toEqual(ref)
    })
    if (crash === undefined) return

    promise(test, 'brings a killed sandbox back on its own disk, again and again', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.restart) return
      const spec = bench.spec({ labels: { kept: 'yes' } })
      const first = await bench.driver.create(spec)
      await append(first, 'a')
      for (const round of ['b', 'c']) {
        await end(bench, crash, first)
        const ref = await bench.driver.restart({ ...spec, env: { ...spec.env, ROUND: round } })
        expect(ref).toEqual(first)
        expect(await bench.driver.get(spec.id)).toEqual(first)
        expect(await append(ref, round)).toEqual([round, round === 'b' ? 'ab' : 'abc', 1000])
      }
      await bench.driver.destroy(spec.id)
      expect(await bench.leftovers()).toEqual([])
    })

    promise(test, 'restarts once of many restarts at once, also by several drivers', async () => {
      await using bench = await Bench.open(test)
      await using other = await test.open(bench.input)
      if (!bench.driver.capabilities.restart) return
      const spec = bench.spec()
      await end(bench, crash, await bench.driver.create(spec))
      const drivers = [bench.driver, other, bench.driver, other]
      const outcomes = await Promise.allSettled(drivers.map((driver) => driver.restart(spec)))
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' })
      }
      expect((await bench.driver.get(spec.id))?.state).toBe('running')
    })

    promise(
      test,
      'leaves a sandbox as it was when a restart was given up, and nothing when it meets a destroy',
      async () => {
        await using bench = await Bench.open(test)
        await using other = await test.open(bench.input)
        if (!bench.driver.capabilities.restart) return
        const spec = bench.spec()
        const ref = await bench.driver.create(spec)
        await append(ref, 'a')
        await end(bench, crash, ref)
        for (const pause of [0, 10, 30]) {
          const stop = new AbortController()
          const restarted = bench.driver.restart(spec, stop.signal)
          setTimeout(() => stop.abort(new Error('given up')), pause)
          await expect(restarted).rejects.toThrow('given up')
          expect((await bench.driver.get(spec.id))?.state).toBe('gone')
        }
        expect(await append(await bench.driver.restart(spec), 'b')).toContain('ab')
        await end(bench, crash, ref)
        await Promise.allSettled([bench.driver.restart(spec), other.destroy(spec.id)])
        await bench.driver.destroy(spec.id)
        expect(await bench.leftovers()).toEqual([])
      },
    )
    if (damage === undefined) return

    promise(test, 'refuses a disk that is damaged, and leaves the sandbox to be destroyed', async () => {
      await using bench = await Bench.open(test)
      if (!bench.driver.capabilities.restart) return
      const spec = bench.spec()
      const ref = await bench.driver.create(spec)
      await end(bench, crash, ref)
      await damage(bench.input, ref)
      await expect(bench.driver.restart(spec)).rejects.toMatchObject({ code: 'unavailable' })
      expect((await bench.driver.get(spec.id))?.state).toBe('gone')
      await bench.driver.destroy(spec.id)
      expect(await bench.leftovers()).toEqual([])
    })
  })
}

async function end(bench: Bench, crash: Crash, ref: SandboxRef): Promise<void> {
  await crash(bench.input, ref)
  await until(async () => (await bench.driver.get(ref.id))?.state === 'gone')
}

/** Adds to a file in the sandbox; answers the round that its runner was told, the whole file and its owner. */
async function append(ref: SandboxRef, text: string): Promise<(string | number | undefined)[]> {
  await using probe = await Probe.listen(ref)
  const round = await probe.runner(() => process.env['ROUND'] ?? '')
  const [content, owner] = await probe.agent((more) => {
    const fs = process.getBuiltinModule('node:fs')
    fs.appendFileSync('/workspace/log', more)
    return [fs.readFileSync('/workspace/log', 'utf8'), fs.statSync('/workspace/log').uid]
  }, text)
  return [round, content, owner]
}
