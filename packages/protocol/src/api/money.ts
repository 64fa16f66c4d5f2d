/** Amounts of money, and the budgets that name them. */
import { z } from 'zod'
import { MAX_CENTS } from '../list-cost.ts'

/** Whole cents as text: `2500` is $25.00. */
export const money = z.object({ amount: z.string(), currency: z.literal('USD') }).meta({ id: 'MonetaryAmount' })
export type Money = z.infer<typeof money>

const moneyParams = z.strictObject({
  amount: z
    .string()
    .regex(/^[1-9]\d{0,11}$/, { error: 'must be a whole number of cents above 0, as text without leading zeros' })
    .refine((value) => Number(value) <= MAX_CENTS, { error: `must be at most ${MAX_CENTS}` }),
  currency: z.literal('USD', { error: 'must be USD, the only currency that is supported' }),
})

export const budgetParams = z.strictObject({ type: z.literal('limit'), max_list_cost: moneyParams })

/** The most that a session may cost at list prices. */
export const budget = z.object({ type: z.literal('limit'), max_list_cost: money }).meta({ id: 'Budget' })
export type Budget = z.infer<typeof budget>
