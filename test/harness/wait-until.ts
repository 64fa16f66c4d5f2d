import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 20

/**
 * Polls until `probe` answers something other than undefined and false, and answers that. When the signal aborts first, throws an error
 * that says what was waited for.
 */
export async function waitUntil<Value>(
  what: string,
  probe: () => Promise<Value | undefined | false> | Value | undefined | false,
  signal: AbortSignal = AbortSignal.timeout(60_000),
): Promise<Value> {
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value
    if (signal.aborted) throw new Error(`gave up waiting until ${what}`, { cause: signal.reason })
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined)
  }
}
