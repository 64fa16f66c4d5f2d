import { describe } from 'vitest'
import { authorities } from './authorities.ts'
import { capabilities } from './capabilities.ts'
import type { DriverUnderTest } from './context.ts'
import { epochs } from './epochs.ts'
import { faults } from './faults.ts'
import { floods } from './floods.ts'
import { idempotency } from './idempotency.ts'
import { isolation } from './isolation.ts'
import { kernel } from './kernel.ts'
import { labels } from './labels.ts'
import { lifecycle } from './lifecycle.ts'
import { limits } from './limits.ts'
import { neighbours } from './neighbours.ts'
import { restart } from './restart.ts'

export type { DriverUnderTest, OpenInput } from './context.ts'
export { probeRunner } from './probe.ts'

/**
 * Holds a driver to the sentences of `driver.ts`, one test each (vitest). Tests open the driver on state directories of their
 * own, with the suite's probe as the runner, and remove what they made. A promise that a driver does not keep is named in `skip`.
 */
export function describeSandboxDriver(name: string, test: DriverUnderTest): void {
  describe(`sandbox driver ${name}`, () => {
    lifecycle(test)
    idempotency(test)
    limits(test)
    floods(test)
    kernel(test)
    isolation(test)
    authorities(test)
    neighbours(test)
    labels(test)
    faults(test)
    restart(test)
    epochs(test)
    capabilities(test)
  })
}
