import type { ModelUsage } from '@berth/protocol'
import { listPrices } from '@berth/protocol/prices'
import { expect, test } from 'vitest'
import { checkMessage } from './acceptance.ts'
import { changedBudget, isBudgetReached, listCostOfSession, type Spending, toGatewayBudget } from './budget.ts'
import { freshTurn } from './turn/turn-state.ts'

const CENT = 10_000_000
const now = new Date('2026-11-22T12:00:00Z')
const cents = (amount: string) => ({ type: 'limit' as const, max_list_cost: { amount, currency: 'USD' as const } })

function spending(given: Partial<Spending> & { cost?: number; cap?: string } = {}): Spending {
  const { cost = 0, cap = '10', ...rest } = given
  const used: ModelUsage = {
    model: 'claude-sonnet-5-5',
    requests: 1,
    input_tokens: 1,
    output_tokens: 1,
    cache_read_input_tokens: 0,
    cache_creation_5m_input_tokens: 0,
    cache_creation_1h_input_tokens: 0,
    web_search_requests: 0,
    list_cost: cost,
    unpriced_requests: 0,
  }
  const budget = JSON.stringify(cents(cap))
  return { budget, usage: JSON.stringify([used]), active_ms: 0, active_since: null, ...rest }
}

test('a budget is reached to the nano-dollar, running time counted up to now', () => {
  expect(isBudgetReached(spending({ cost: 10 * CENT - 1 }), now)).toBe(false)
  expect(isBudgetReached(spending({ cost: 10 * CENT }), now)).toBe(true)
  // Half an hour before, and half an hour now: eight cents.
  const running = { active_ms: 1_800_000, active_since: '2026-11-22T11:30:00.000Z' }
  expect(listCostOfSession(spending({ cost: CENT, ...running }), now)).toBe(9 * CENT)
  expect(isBudgetReached(spending({ cost: 2 * CENT, ...running }), now)).toBe(true)
  expect(isBudgetReached(spending({ cost: 99 * CENT, budget: null }), now)).toBe(false)
  expect(toGatewayBudget(spending(running))).toEqual({ max_list_cost: 10 * CENT, ...running })
})

test('a change has to be more than what was spent', () => {
  const given = { prices: listPrices, model: 'claude-sonnet-5-5', now }
  const session = spending({ cost: 5 * CENT })
  expect(changedBudget(session, cents('6'), given)).toEqual(cents('6'))
  expect(() => changedBudget(session, cents('5'), given)).toThrow('budget.max_list_cost.amount: ')
  expect(changedBudget(session, cents('10'), given)).toBeUndefined()
  expect(changedBudget(session, undefined, given)).toBeUndefined()
  expect(changedBudget(session, null, given)).toBeNull()
  expect(() => changedBudget(session, cents('99'), { ...given, model: 'mystery' })).toThrow('no list price')
})

test('a session whose last request crossed the budget with the end of its turn takes no message either', () => {
  const idle = { status: 'idle', stopReason: { type: 'end_turn' }, turn: freshTurn } as const
  expect(() => checkMessage({ ...idle, isBudgetReached: true })).toThrow(/reached its budget.*user\.interrupt/)
  expect(() => checkMessage({ ...idle, isBudgetReached: false })).not.toThrow()
  expect(() => checkMessage({ ...idle, status: 'running', isBudgetReached: true })).not.toThrow()
})
