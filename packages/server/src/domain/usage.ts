/** Usage as the wire shows it, from the gateway's ledger: what was metered, not what the agent says. */
import { z } from 'zod'
import { modelUsage, type ModelUsage } from '@berth/protocol'
import type { Usage } from '@berth/protocol/api/session'
import { runningCostOf, toCents } from '@berth/protocol/list-cost'
import { listPrices } from '@berth/protocol/prices'

export function parseModels(json: string): ModelUsage[] {
  return z.array(modelUsage).parse(JSON.parse(json))
}

export function toWireUsage(models: readonly ModelUsage[], activeMs: number): Usage {
  const sum = (key: Exclude<keyof ModelUsage, 'model'>): number =>
    models.reduce((total, model) => total + model[key], 0)
  return {
    input_tokens: sum('input_tokens'),
    output_tokens: sum('output_tokens'),
    cache_read_input_tokens: sum('cache_read_input_tokens'),
    cache_creation: {
      ephemeral_5m_input_tokens: sum('cache_creation_5m_input_tokens'),
      ephemeral_1h_input_tokens: sum('cache_creation_1h_input_tokens'),
    },
    server_tool_use: { web_search_requests: sum('web_search_requests'), web_fetch_requests: 0 },
    active_seconds: activeMs / 1_000,
    list_cost: { amount: toCents(sum('list_cost') + runningCostOf(listPrices, activeMs)), currency: 'USD' },
  }
}
