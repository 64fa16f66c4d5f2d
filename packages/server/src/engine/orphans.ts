import type { SandboxRef } from '@berth/sandbox'
import type { EngineDeps } from './deps.ts'

/** A sandbox is in the store before it is made: one that is not in the store by now is nobody's, and goes. */
export async function destroyOrphans(
  { store, driver, logger }: EngineDeps,
  { present, known }: { present: Iterable<SandboxRef>; known: { has(id: string): boolean } },
): Promise<void> {
  for (const { id } of present) {
    if (known.has(id) || (await store.findSandbox({ sandboxId: id })) !== undefined) continue
    logger.warn({ sandbox_id: id }, 'destroying an orphan sandbox')
    await driver.destroy(id)
  }
}
