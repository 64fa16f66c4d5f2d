import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { describe, expect } from 'vitest'
import { Bench, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'
import { Probe } from './probe.ts'

export function faults(test: DriverUnderTest): void {
  const { crash, openIn } = test
  describe('faults', () => {
    if (crash !== undefined) {
      promise(test, 'sees a sandbox that was killed as gone, and destroys what is left of it', async () => {
        await using bench = await Bench.open(test)
        await using sandbox = await bench.sandbox()
        await crash(bench.input, sandbox.ref)
        await until(async () => (await bench.driver.get(sandbox.ref.id))?.state === 'gone')
        await expect(bench.driver.create(bench.spec({ id: sandbox.ref.id }))).rejects.toMatchObject({
          code: 'conflict',
        })
        await bench.driver.destroy(sandbox.ref.id)
        expect(await bench.driver.get(sandbox.ref.id)).toBeUndefined()
        expect(await bench.leftovers()).toEqual([])
      })

      promise(test, 'destroys a killed sandbox at once, too', async () => {
        await using bench = await Bench.open(test)
        const ref = await bench.driver.create(bench.spec())
        await Promise.all([crash(bench.input, ref), bench.driver.destroy(ref.id)])
        expect(await bench.leftovers()).toEqual([])
      })
    }

    if (openIn !== undefined) {
      promise(test, 'lives on, link and all, when the process that made it is killed', async () => {
        await using bench = await Bench.open(test)
        const spec = bench.spec({ labels: { kept: 'yes' } })
        const server = startServer(openIn, bench.input, [spec])
        await server.created
        await server.kill()
        const driver = await test.open(bench.input)
        const ref = await driver.get(spec.id)
        expect(ref).toMatchObject({ id: spec.id, state: 'running', labels: { kept: 'yes' } })
        if (ref === undefined) return
        await using probe = await Probe.listen(ref)
        expect(await probe.agent(() => process.getuid?.())).toBe(1000)
        await driver[Symbol.asyncDispose]()
      })

      promise(test, 'leaves nothing that cannot be destroyed, whenever its maker is killed', async () => {
        await using bench = await Bench.open(test)
        const specs = Array.from({ length: 10 }, () => bench.spec())
        for (const [round, spec] of specs.entries()) {
          const server = startServer(openIn, bench.input, [spec])
          await server.opened
          // Points all over the making, from before the first file to after the start.
          await Promise.race([server.created, new Promise((resolve) => setTimeout(resolve, round * 9))])
          await server.kill()
        }
        const driver = await test.open(bench.input)
        for (const spec of specs) await driver.destroy(spec.id)
        await driver[Symbol.asyncDispose]()
        await until(async () => (await bench.leftovers()).length === 0)
      })
    }
  })
}

/** A process that opens the driver and creates these sandboxes. It says `opened` and `created`. */
function startServer(openIn: NonNullable<DriverUnderTest['openIn']>, input: unknown, specs: readonly unknown[]) {
  const program = `
    const [input, specs] = JSON.parse(process.env.JOB)
    const driver = await (await import(${JSON.stringify(openIn.module)}))[${JSON.stringify(openIn.export)}](input)
    console.log('opened')
    for (const spec of specs) await driver.create({ ...spec, until: new Date(spec.until) })
    console.log('created')
    setInterval(() => {}, 60_000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    env: { JOB: JSON.stringify([input, specs]) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [opened, created] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const exited = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  createInterface({ input: child.stdout }).on('line', (line) => (line === 'opened' ? opened : created).resolve())
  return {
    opened: opened.promise,
    created: created.promise,
    kill: async (): Promise<void> => {
      child.kill('SIGKILL')
      await exited
    },
  }
}
