/** What was metered, group by group: model requests from the gateway's ledger, sandbox time from the store. */
import type { LedgerGroup, UsageGroups } from '@berth/protocol'
import type { UsageEntry } from '@berth/protocol/api/usage'
import { hourlyCostOf, noTokens, toUsd } from '@berth/protocol/list-cost'
import { type ActorDeps, isoNow } from './deps.ts'

export interface UsageRequest {
  readonly workspaceId: string
  readonly agentId: string | undefined
  readonly sessionId: string | undefined
  readonly fromDay: string | undefined
  readonly toDay: string | undefined
  readonly groupBy: readonly LedgerGroup[]
  /** Groups behind this one. */
  readonly after: readonly string[] | undefined
  readonly limit: number
}

export interface UsageGroup {
  readonly key: readonly string[]
  readonly entry: UsageEntry
}

type Sums = Omit<UsageGroups['groups'][number], 'key'>

const noRequests: Sums = { requests: 0, ...noTokens, list_cost: 0, unpriced_requests: 0 }

export class UsageReport {
  readonly #deps: Pick<ActorDeps, 'gateway' | 'store' | 'clock' | 'costs'>

  constructor(deps: Pick<ActorDeps, 'gateway' | 'store' | 'clock' | 'costs'>) {
    this.#deps = deps
  }

  /** By key, ascending; at most `limit`. `unavailable` while the gateway does not answer. */
  async list(request: UsageRequest): Promise<UsageGroup[]> {
    const { groups } = await this.#deps.gateway.sumUsage({
      workspace_id: request.workspaceId,
      agent_id: request.agentId ?? null,
      session_id: request.sessionId ?? null,
      from_day: request.fromDay ?? null,
      to_day: request.toDay ?? null,
      group_by: [...request.groupBy],
      after: request.after === undefined ? null : [...request.after],
      limit: request.limit,
    })
    // Each side's first groups behind the cursor: among them are the first of both together.
    const merged = new Map<string, { key: readonly string[]; sums: Sums; ms: number | null }>()
    for (const { key, ...sums } of groups) merged.set(JSON.stringify(key), { key, sums, ms: null })
    for (const { key, ms } of await this.#sandboxTime(request)) {
      const id = JSON.stringify(key)
      merged.set(id, { key, sums: merged.get(id)?.sums ?? noRequests, ms })
    }
    const ofModels = request.groupBy.includes('model')
    return [...merged.values()]
      .toSorted((one, other) => compare(one.key, other.key))
      .slice(0, request.limit)
      .map(({ key, sums, ms }) => ({
        key,
        entry: this.#toEntry(request.groupBy, { key, sums, ms: ofModels ? null : (ms ?? 0) }),
      }))
  }

  async #sandboxTime(request: UsageRequest): Promise<{ key: string[]; ms: number }[]> {
    const groupBy = request.groupBy.filter((group) => group !== 'model')
    // A sandbox's time is of no model.
    if (groupBy.length !== request.groupBy.length) return []
    await this.#deps.store.noteSandboxTime({ now: isoNow(this.#deps.clock) })
    return this.#deps.store.listSandboxTime({ ...request, groupBy })
  }

  #toEntry(
    groupBy: readonly LedgerGroup[],
    { key, sums, ms }: { key: readonly string[]; sums: Sums; ms: number | null },
  ): UsageEntry {
    const named = (group: LedgerGroup): string | null => key[groupBy.indexOf(group)] ?? null
    const hour = this.#deps.costs.sandboxHourUsd
    return {
      type: 'usage',
      day: named('day'),
      agent_id: named('agent'),
      session_id: named('session'),
      model: named('model'),
      requests: sums.requests,
      input_tokens: sums.input_tokens,
      output_tokens: sums.output_tokens,
      cache_read_input_tokens: sums.cache_read_input_tokens,
      cache_creation: {
        ephemeral_5m_input_tokens: sums.cache_creation_5m_input_tokens,
        ephemeral_1h_input_tokens: sums.cache_creation_1h_input_tokens,
      },
      web_search_requests: sums.web_search_requests,
      list_cost_usd: toUsd(sums.list_cost),
      unpriced_requests: sums.unpriced_requests,
      sandbox: ms === null ? null : { seconds: ms / 1_000, cost_usd: toUsd(hourlyCostOf(hour, ms)) },
    }
  }
}

/** As the databases do: byte by byte. */
function compare(one: readonly string[], other: readonly string[]): number {
  for (const [index, part] of one.entries()) {
    const order = Buffer.compare(Buffer.from(part), Buffer.from(other[index] ?? ''))
    if (order !== 0) return order
  }
  return 0
}
