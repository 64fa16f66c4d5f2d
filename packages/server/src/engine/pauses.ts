/** Sessions that rest because a limit on cost is reached: looked at now and then, and woken when it is no more. */
import { isBudgetReached } from '../domain/budget.ts'
import { parseTurn } from '../domain/turn/turn-state.ts'
import type { Committed, SessionRow } from '../store/session-log.ts'
import { type ActorDeps, isoNow } from './deps.ts'

export class Pauses {
  readonly #deps: ActorDeps
  readonly #publish: (committed: Committed) => void
  /** Sessions whose model had no price: tried once, for a server has one table of prices as long as it lives. */
  readonly #tried = new Set<string>()

  constructor(deps: ActorDeps, publish: (committed: Committed) => void) {
    this.#deps = deps
    this.#publish = publish
  }

  /** To be called now and then. */
  async look(): Promise<void> {
    const rows = await this.#deps.store.listPausedSessions({})
    for (const workspaceId of new Set(rows.map((row) => row.workspace_id))) {
      if (await this.#isAtLimit(workspaceId)) continue
      for (const row of rows) if (row.workspace_id === workspaceId && this.#isWorthwhile(row)) await this.#resume(row)
    }
  }

  #isWorthwhile(row: SessionRow): boolean {
    const { id } = row
    const { paused } = parseTurn(row.turn)
    if (paused === null || isBudgetReached(row, this.#deps.clock.now())) return false
    if (paused !== 'unpriced_model') return true
    if (this.#tried.has(id)) return false
    this.#tried.add(id)
    return true
  }

  async #resume({ id: sessionId }: SessionRow): Promise<void> {
    const { store, leases, clock } = this.#deps
    const committed = await store.resumeSession({
      sessionId,
      epoch: await leases.epoch(sessionId),
      now: isoNow(clock),
    })
    if (committed.row.status !== 'idle') this.#publish(committed)
  }

  async #isAtLimit(workspaceId: string): Promise<boolean> {
    const { costs, gateway, clock } = this.#deps
    if (costs.workspaceDailyLimit === undefined) return false
    const day = isoNow(clock).slice(0, 10)
    const { groups } = await gateway.sumUsage({
      workspace_id: workspaceId,
      agent_id: null,
      session_id: null,
      from_day: day,
      to_day: day,
      group_by: [],
      after: null,
      limit: 1,
    })
    return (groups[0]?.list_cost ?? 0) >= costs.workspaceDailyLimit
  }
}
