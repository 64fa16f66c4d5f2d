/** What a session may cost at list prices, and what it has cost so far. */
import type { SessionBudget } from '@berth/protocol'
import { budget as budgetSchema, type Budget } from '@berth/protocol/api/money'
import { fromCents, runningCostOf } from '@berth/protocol/list-cost'
import { listPrices, type Prices, pricesOf } from '@berth/protocol/prices'
import { invalid } from './refusal.ts'
import { parseModels } from './usage.ts'

export interface Spending {
  /** JSON, as the store keeps both. */
  readonly budget: string | null
  readonly usage: string
  readonly active_ms: number
  readonly active_since: string | null
}

export function parseBudget(json: string | null): Budget | null {
  return json === null ? null : budgetSchema.parse(JSON.parse(json))
}

/** How long it has run until now. */
export function activeMsOf(session: Pick<Spending, 'active_ms' | 'active_since'>, now: Date): number {
  const since = session.active_since === null ? 0 : Math.max(0, now.getTime() - Date.parse(session.active_since))
  return session.active_ms + since
}

/** Nano-dollars: what the gateway has counted, and the time in which it ran. */
export function listCostOfSession(session: Spending, now: Date): number {
  const requests = parseModels(session.usage).reduce((sum, { list_cost }) => sum + list_cost, 0)
  return requests + runningCostOf(listPrices, activeMsOf(session, now))
}

export function isBudgetReached(session: Spending, now: Date): boolean {
  const budget = parseBudget(session.budget)
  return budget !== null && listCostOfSession(session, now) >= fromCents(budget.max_list_cost.amount)
}

/** As the gateway is told it. */
export function toGatewayBudget(session: Spending): SessionBudget | null {
  const budget = parseBudget(session.budget)
  if (budget === null) return null
  const { active_ms, active_since } = session
  return { max_list_cost: fromCents(budget.max_list_cost.amount), active_ms, active_since }
}

/** A budget can be kept only where every model has a price. */
export function checkBudgetable(prices: Prices, model: string): void {
  if (pricesOf(prices, model) !== undefined) return
  throw invalid('budget', `the model ${model} has no list price, so that no budget can be kept`, 'model_not_budgetable')
}

/** The budget that a session has after an update; undefined: the one that it had. */
export function changedBudget(
  session: Spending,
  wanted: Budget | null | undefined,
  { prices, model, now }: { readonly prices: Prices; readonly model: string; readonly now: Date },
): Budget | null | undefined {
  const old = parseBudget(session.budget)
  if (wanted === undefined || (wanted === null && old === null)) return undefined
  if (wanted === null) return null
  if (old === null) {
    throw invalid('budget', 'cannot be added to a session that was made without one', 'budget_create_only')
  }
  checkBudgetable(prices, model)
  if (wanted.max_list_cost.amount === old.max_list_cost.amount) return undefined
  if (fromCents(wanted.max_list_cost.amount) <= listCostOfSession(session, now)) {
    throw invalid('budget.max_list_cost.amount', 'is not more than the session has cost already', 'budget_not_raised')
  }
  return wanted
}
