import type { Ledger } from './ledger.ts'
import type { LedgerRow } from './ledger-message.ts'
import type { Reservation } from './accounts.ts'
import type { Logger } from './logger.ts'
import { costOf, type Metering } from './metering.ts'
import { nothingSeen, type Seen } from './usage-scanner.ts'

export interface RecordParts {
  readonly ledger: Ledger
  readonly metering: Metering
  readonly logger: Logger
  readonly now: () => Date
}

export interface Asked {
  readonly id: string
  readonly sessionId: string
  readonly workspaceId: string
  readonly agentId: string
  readonly model: string
  readonly reservation: Reservation
}

/** A model request's row in the ledger, from its start to its end. */
export class RequestRecord {
  readonly #parts: RecordParts
  readonly #reservation: Reservation
  #row: LedgerRow

  constructor(parts: RecordParts, asked: Asked) {
    this.#parts = parts
    this.#reservation = asked.reservation
    const { model, ...counts } = nothingSeen()
    this.#row = {
      id: asked.id,
      session_id: asked.sessionId,
      workspace_id: asked.workspaceId,
      agent_id: asked.agentId,
      upstream_request_id: null,
      model_asked: asked.model,
      model_served: model,
      ...counts,
      list_cost: 0,
      status: null,
      started_at: parts.now().toISOString(),
      ended_at: null,
      outcome: null,
    }
  }

  /** Notes the beginning: a gateway that dies now leaves a row that the next one settles. */
  open(): Promise<void> {
    return this.#parts.ledger.write(this.#row)
  }

  answered(status: number, upstreamRequestId: string | null): void {
    this.#row = { ...this.#row, status, upstream_request_id: upstreamRequestId }
  }

  /** Notes what is known so far, in the background. */
  saw(seen: Seen): void {
    this.#take(seen)
    this.#parts.ledger.write(this.#row).catch((error: unknown) => {
      this.#parts.logger.error({ err: error, request: this.#row.id }, 'usage not written yet')
    })
  }

  /** Resolves when the end is on disk. Only the first call counts. */
  async settle(outcome: 'ok' | 'error' | 'cut', seen?: Seen): Promise<void> {
    if (this.#row.outcome !== null) return
    if (seen !== undefined) this.#take(seen)
    this.#row = { ...this.#row, outcome, ended_at: this.#parts.now().toISOString() }
    try {
      await this.#parts.ledger.write(this.#row)
    } finally {
      this.#reservation.settle(this.#row.list_cost)
    }
  }

  #take(seen: Seen): void {
    const { model, ...counts } = seen
    const row = { ...this.#row, ...counts, model_served: model }
    this.#row = { ...row, list_cost: costOf(this.#parts.metering.prices, row) }
  }
}
