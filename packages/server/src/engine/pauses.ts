/** Sessions that rest because a limit on cost is reached: looked at now and then, and woken when it is no more. */
import type { Committed, SessionRow } from '../store/session-log.ts'
import { type ActorDeps, isoNow } from './deps.ts'

const LOOK_EVERY_MS = 10_000

export class Pauses {
  readonly #deps: ActorDeps
  readonly #publish: (committed: Committed) => void
  #lookedAt = -Infinity

  constructor(deps: ActorDeps, publish: (committed: Committed) => void) {
    this.#deps = deps
    this.#publish = publish
  }

  async look(): Promise<void> {
    const now = performance.now()
    if (now - this.#lookedAt < LOOK_EVERY_MS / 2) return
    this.#lookedAt = now
    const rows = await this.#deps.store.listPausedSessions({})
    for (const workspaceId of new Set(rows.map((row) => row.workspace_id))) {
      if (await this.#isAtLimit(workspaceId)) continue
      for (const row of rows.filter((each) => each.workspace_id === workspaceId)) await this.#resume(row)
    }
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
