import type { SessionBudget } from '@berth/protocol/gateway'
import { listPrices } from '@berth/protocol/prices'
import { expect, test } from 'vitest'
import { Accounts, type Asking, type Payer, type Reservation } from './accounts.ts'

const signal = new AbortController().signal
const zero = { list_cost: 0, unpriced_requests: 0 }

function accounts(given: { dailyLimit?: number; spent?: typeof zero; now?: () => Date } = {}): Accounts {
  const { dailyLimit, spent = zero, now = () => new Date('2026-11-22T12:00:00Z') } = given
  const ledger = { spentBy: () => Promise.resolve(spent), spentOn: () => Promise.resolve(zero) }
  return new Accounts({ ledger, metering: { prices: listPrices, dailyLimit }, now })
}

const capped = (max_list_cost: number): SessionBudget => ({ max_list_cost, active_ms: 0, active_since: null })
const payerOf = (budget: SessionBudget | null, sessionId = 's'): Payer => ({
  sessionId,
  workspaceId: 'w',
  budget: () => budget,
})

/** By the prices of Sonnet 5.5: 4,000 nano-dollars a token of the prompt at most, 10,000 a token of the answer. */
const asking = (given: Partial<Asking> = {}): Asking => ({
  models: ['claude-sonnet-5-5'],
  promptTokens: 100,
  maxTokens: 60,
  signal,
  ...given,
})
const BOUND = 1_000_000

/** Numbers that only look like chance, so that a failure can be seen again. */
function chance(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

test.each(Array.from({ length: 40 }, (_, seed) => [seed]))(
  'whatever comes at once, all requests together overrun the budget by one at most (seed %i)',
  async (seed) => {
    const next = chance(seed)
    const limit = (1 + next(8)) * BOUND + next(BOUND)
    const all = accounts()
    const payer = payerOf(capped(limit))
    const open: Reservation[] = []
    let spent = 0
    let refused = 0
    const settleOne = () => {
      const [one] = open.splice(next(open.length), 1)
      const cost = next(BOUND + 1)
      spent += cost
      one?.settle(cost)
    }
    const count = { left: 50 }
    const requests = Array.from({ length: 50 }, async () => {
      try {
        open.push(await all.reserve(payer, asking()))
      } catch {
        refused += 1
        expect(spent).toBeGreaterThanOrEqual(limit)
      } finally {
        count.left -= 1
      }
    })
    while (count.left > 0 || open.length > 0) {
      await new Promise((resolve) => setImmediate(resolve))
      if (open.length > 0) settleOne()
    }
    await Promise.all(requests)
    expect(refused).toBeGreaterThan(0)
    expect(spent).toBeGreaterThanOrEqual(limit)
    expect(spent).toBeLessThanOrEqual(limit + BOUND)
  },
)

test('a request that others keep back waits for them, and stops waiting when it is told to', async () => {
  const all = accounts()
  const payer = payerOf(capped(BOUND))
  const first = await all.reserve(payer, asking())
  const second = all.reserve(payer, asking())
  const gone = new AbortController()
  const third = all.reserve(payer, asking({ signal: gone.signal }))
  gone.abort(new Error('gone'))
  await expect(third).rejects.toThrow('gone')
  first.settle(10)
  using held = await second
  held.settle(BOUND)
  held.settle(BOUND)
  await expect(all.reserve(payer, asking())).rejects.toMatchObject({ status: 402, type: 'billing_error', retry: false })
  expect(await all.stoppedOf(payer)).toBe('budget')
})

test('a raised budget lets those go on that wait, and says no more that the session is stopped once one has gone on', async () => {
  const all = accounts({ spent: { list_cost: 5, unpriced_requests: 0 } })
  let budget: SessionBudget | null = capped(5)
  const payer: Payer = { sessionId: 's', workspaceId: 'w', budget: () => budget }
  await expect(all.reserve(payer, asking())).rejects.toMatchObject({ status: 402 })
  budget = capped(6)
  expect(await all.stoppedOf(payer)).toBe('budget')
  const first = await all.reserve(payer, asking())
  expect(await all.stoppedOf(payer)).toBeNull()
  const waiting = all.reserve(payer, asking())
  budget = null
  await all.wake('s')
  ;(await waiting)[Symbol.dispose]()
  first[Symbol.dispose]()
})

test('running time counts towards the budget, up to now', async () => {
  let now = new Date('2026-11-22T12:00:00Z')
  const all = accounts({ now: () => now })
  const hour = 80_000_000
  const budget = { max_list_cost: 2 * hour, active_ms: 3_600_000, active_since: now.toISOString() }
  const payer = payerOf(budget)
  ;(await all.reserve(payer, asking()))[Symbol.dispose]()
  now = new Date('2026-11-22T13:00:00Z')
  await expect(all.reserve(payer, asking())).rejects.toMatchObject({ status: 402 })
})

test('a workspace’s limit is of all its sessions, and of one day', async () => {
  let now = new Date('2026-11-22T23:59:59Z')
  const all = accounts({ dailyLimit: 100, now: () => now })
  ;(await all.reserve(payerOf(null, 'one'), asking())).settle(100)
  await expect(all.reserve(payerOf(null, 'two'), asking())).rejects.toMatchObject({ status: 402 })
  expect(await all.stoppedOf(payerOf(null, 'three'))).toBe('workspace_limit')
  now = new Date('2026-11-23T00:00:00Z')
  ;(await all.reserve(payerOf(null, 'two'), asking())).settle(1)
})

test('what has no price passes where nothing is limited, and nowhere else', async () => {
  const all = accounts()
  const unpriced = asking({ models: ['claude-sonnet-5-5', 'mystery'] })
  ;(await all.reserve(payerOf(null), unpriced)).settle(null)
  const payer = payerOf(capped(10 * BOUND), 'other')
  await expect(all.reserve(payer, unpriced)).rejects.toMatchObject({ status: 402, message: /no list price/ })
  // Asked for one with a price, answered by one without.
  ;(await all.reserve(payer, asking())).settle(null)
  await expect(all.reserve(payer, asking())).rejects.toMatchObject({ message: /no list price/ })
  expect(await all.stoppedOf(payer)).toBe('unpriced_model')
})
