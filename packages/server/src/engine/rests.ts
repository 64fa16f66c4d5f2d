/** What is done with the sandbox of a session that rests: its files are saved, and it is let go. */
import { isBerthError } from '@berth/protocol'
import { holdMs, type RestStep } from '../domain/lifecycle.ts'
import type { Committed, SessionRow } from '../store/session-log.ts'
import { type ActorDeps, isoNow } from './deps.ts'
import type { SandboxHost } from './sandbox-host.ts'
import type { Sandboxes } from './sandboxes.ts'
import { environmentOf } from './session-config.ts'
import type { SessionFiles } from './session-files.ts'

/** After a step that could not be taken: doubling, up to the last. */
const FIRST_AGAIN_MS = 10_000
const LAST_AGAIN_MS = 10 * 60_000
/** Failures in a row after which a sandbox that does not answer is told of. */
const TELL_UNAVAILABLE = 3
/** When something else has come between: how long until the next try. */
const LATER_MS = 15_000

export interface RestDeps extends ActorDeps {
  readonly files: SessionFiles
  readonly sandboxes: Sandboxes
}

export interface Resting {
  readonly row: SessionRow
  readonly host: SandboxHost
  readonly signal: AbortSignal
  readonly publish: (committed: Committed) => void
}

export class Rests {
  readonly #deps: RestDeps
  /** Steps of a session that failed in a row. */
  readonly #failures = new Map<string, number>()

  constructor(deps: RestDeps) {
    this.#deps = deps
  }

  /**
   * Resolves with how long to wait before the next step, at least. `publish` tells what was committed on the way. Rejects when the signal
   * aborts it; nothing is half done then.
   */
  async take(step: RestStep, given: Resting): Promise<number> {
    const { row, signal } = given
    try {
      const againMs = step === 'checkpoint' ? await this.#save(given, 'turn_over') : await this.#release(given)
      this.#failures.delete(row.id)
      return againMs
    } catch (error) {
      if (signal.aborted || isBerthError(error, 'not_found') || isBerthError(error, 'conflict')) throw error
      return this.#failed(given, error)
    }
  }

  /** The session is no more. */
  forget(sessionId: string): void {
    this.#failures.delete(sessionId)
  }

  async #save({ row, host, signal }: Resting, why: 'turn_over' | 'park'): Promise<0> {
    await this.#deps.files.save(row, host, { why, signal })
    return 0
  }

  async #release(given: Resting): Promise<number> {
    const { row, host, signal, publish } = given
    const { store, leases, clock, sandboxes } = this.#deps
    const count = await this.#deps.files.countProcesses(row, host, signal)
    const heldMs = count === 0 ? 0 : this.#heldMs(row)
    if (heldMs > 0) return heldMs
    // Processes that still run may have changed something since the last one.
    if (row.is_changed === 1 || count > 0) await this.#save(given, 'park')
    signal.throwIfAborted()
    const key = { sessionId: row.id, epoch: await leases.epoch(row.id), now: isoNow(clock) }
    const parked = await store.parkSession({ ...key, sandboxId: host.id, nonce: host.nonce })
    if (parked !== undefined) publish(parked)
    else if (!(await store.releaseSandbox({ ...key, sandboxId: host.id }))) return LATER_MS
    if (count > 0) publish(await store.tellResting({ ...key, news: { type: 'processes_ended', count } }))
    this.#deps.logger.info({ session_id: row.id, sandbox_id: host.id }, 'sandbox put away')
    await sandboxes.putAway(host.id)
    return 0
  }

  /** How long processes of the agent may hold the sandbox before they are looked at again. */
  #heldMs(row: SessionRow): number {
    const restedMs = this.#deps.clock.now().getTime() - Date.parse(row.idle_since ?? row.updated_at)
    return holdMs(environmentOf(row).berth.lifecycle, restedMs)
  }

  async #failed({ row, publish }: Resting, error: unknown): Promise<number> {
    const { store, leases, clock, logger } = this.#deps
    const failures = (this.#failures.get(row.id) ?? 0) + 1
    this.#failures.set(row.id, failures)
    logger.error({ err: error, session_id: row.id, failures }, 'session could not be saved')
    // A sandbox that has just been lost cannot be saved either, and is told of otherwise.
    if (failures === (isBerthError(error, 'unavailable') ? TELL_UNAVAILABLE : 1)) {
      const key = { sessionId: row.id, epoch: await leases.epoch(row.id), now: isoNow(clock) }
      const why = isBerthError(error) ? error.message : 'a fault of the server'
      publish(await store.tellResting({ ...key, news: { type: 'not_saved', why } }))
    }
    return Math.min(FIRST_AGAIN_MS * 2 ** (failures - 1), LAST_AGAIN_MS)
  }
}
