import { describe, expect } from 'vitest'
import { inside } from '../driver.ts'
import { Bench, promise } from './context.ts'
import type { DriverUnderTest } from './context.ts'

export function authorities(test: DriverUnderTest): void {
  describe('authorities', () => {
    promise(test, 'trusts those of its spec beside the others', async () => {
      const certificate = '-----BEGIN CERTIFICATE-----\nof the test\n-----END CERTIFICATE-----\n'
      await using bench = await Bench.open(test)
      await using plain = await bench.sandbox()
      await using trusting = await bench.sandbox({ authorities: [certificate] })
      const others = await plain.probe.agent(readText, inside.authorities)
      expect(others.match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThan(1)
      expect(await trusting.probe.agent(readText, inside.authorities)).toBe(others + certificate)
    })
  })
}

async function readText(path: string) {
  const fs = process.getBuiltinModule('node:fs')
  return fs.readFileSync(path, 'utf8')
}
