/** Tells the gateway what a session may cost, as often as that changes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isBerthError, sessionBudget } from '@berth/protocol'
import { toGatewayBudget } from '../domain/budget.ts'
import type { SessionRow } from '../store/session-log.ts'
import type { ActorDeps } from './deps.ts'

const AGAIN_MS = 500

/** One session's budget on its way to the gateway: one call at a time, the newest state last, until it is there. */
export class BudgetTeller {
  readonly #sessionId: string
  readonly #deps: Pick<ActorDeps, 'gateway' | 'logger'>
  readonly #stopping: AbortSignal
  /** JSON of what the gateway has been told, or is to be; undefined: nothing, so far. */
  #wanted: string | undefined
  #told: string | undefined
  #telling: Promise<void> | undefined

  constructor(sessionId: string, deps: Pick<ActorDeps, 'gateway' | 'logger'>, stopping: AbortSignal) {
    this.#sessionId = sessionId
    this.#deps = deps
    this.#stopping = stopping
  }

  /** After every change of the session. */
  watch(row: SessionRow): void {
    if (row.budget === null && this.#wanted === undefined) return
    this.#wanted = JSON.stringify(toGatewayBudget(row))
    if (this.#wanted !== this.#told) this.#telling ??= this.#tell().finally(() => (this.#telling = undefined))
  }

  /** Resolves when the gateway knows what `watch` was last given, or the actor has stopped. */
  async settled(): Promise<void> {
    await this.#telling
  }

  async #tell(): Promise<void> {
    while (this.#told !== this.#wanted && !this.#stopping.aborted) {
      const wanted = this.#wanted
      if (wanted === undefined) return
      try {
        const budget = sessionBudget.nullable().parse(JSON.parse(wanted))
        await this.#deps.gateway.setBudget(this.#sessionId, budget, this.#stopping)
        this.#told = wanted
      } catch (error) {
        if (this.#stopping.aborted) return
        // It has no way to the model now; the one that is opened for it comes with the budget.
        if (isBerthError(error, 'not_found')) this.#told = wanted
        else await this.#later(error)
      }
    }
  }

  async #later(failure: unknown): Promise<void> {
    this.#deps.logger.warn({ err: failure, session_id: this.#sessionId }, 'the gateway does not know the budget yet')
    await sleep(AGAIN_MS, undefined, { signal: this.#stopping }).catch(() => undefined)
  }
}
