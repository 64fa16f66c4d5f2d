import { describe, expect } from 'vitest'
import { Bench, promise } from './context.ts'
import type { DriverUnderTest } from './context.ts'

export function capabilities(test: DriverUnderTest): void {
  describe('capabilities and findings', () => {
    promise(test, 'says of every capability whether it has it', async () => {
      await using bench = await Bench.open(test)
      const names = ['diskQuota', 'endpoint', 'exec', 'list', 'restart', 'setNetworkPolicy', 'snapshot', 'suspend']
      expect(Object.keys(bench.driver.capabilities).sort()).toEqual(names)
    })

    promise(test, 'finds nothing wrong with a machine on which it works, and changes nothing', async () => {
      await using bench = await Bench.open(test)
      const findings = await bench.driver.check()
      expect(findings.length).toBeGreaterThan(0)
      expect(findings.filter((finding) => finding.level === 'fail')).toEqual([])
      for (const finding of findings.filter(({ level }) => level !== 'ok')) expect(finding.remedy).toBeTruthy()
      expect(await bench.leftovers()).toEqual([])
    })
  })
}
