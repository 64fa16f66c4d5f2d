/** What the gateway needs to know of money: the price table, and the limits that are no session's own. */
import { BerthError } from '@berth/protocol/error'
import { fromUsd, listCostOf, type TokenCounts } from '@berth/protocol/list-cost'
import { layPrices, listPrices, ownPrices, type Prices, pricesOf } from '@berth/protocol/prices'
import { z } from 'zod'

export interface Metering {
  readonly prices: Prices
  /** Nano-dollars that a workspace may cost per day (UTC); undefined: no limit. */
  readonly dailyLimit: number | undefined
}

const usd = z
  .string()
  .regex(/^\d{1,7}(\.\d{1,9})?$/, 'must be an amount in USD such as 25 or 0.50')
  .transform(fromUsd)

/** The variables of the gateway's own environment; empty ones count as absent. Throws `invalid_request` naming the variable. */
export function readMetering(env: Readonly<Record<string, string | undefined>>): Metering {
  const { BERTH_PRICE_TABLE: table, BERTH_WORKSPACE_DAILY_LIMIT: limit } = env
  return {
    prices: layPrices(listPrices, table ? read('BERTH_PRICE_TABLE', ownPrices, parse(table)) : {}),
    dailyLimit: limit ? read('BERTH_WORKSPACE_DAILY_LIMIT', usd, limit) : undefined,
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function read<S extends z.ZodType>(name: string, schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const path = [name, ...(issue?.path ?? []).map(String)].join('.')
  throw new BerthError('invalid_request', `${path}: ${issue?.message ?? 'is invalid'}`)
}

interface Costed extends TokenCounts {
  readonly model_asked: string
  readonly model_served: string | null
}

/** By the model that answered; where it has no list price, by the one that was asked. Null: neither has one, and tokens were used. */
export function costOf(table: Prices, row: Costed): number | null {
  const served = row.model_served === null ? undefined : pricesOf(table, row.model_served)
  const prices = served ?? pricesOf(table, row.model_asked)
  if (prices !== undefined) return listCostOf(table, prices, row)
  const used = row.input_tokens + row.output_tokens + row.cache_read_input_tokens
  return used + row.cache_creation_5m_input_tokens + row.cache_creation_1h_input_tokens === 0 ? 0 : null
}
