/**
 * The price table: public list prices as data. An operator's own table is laid over it (`layPrices`): new models, other prices. What a
 * price is applied to is in `list-cost.ts`.
 */
import { z } from 'zod'

/** In nano-dollars a price per token is a whole number: a thousandth of a dollar per million tokens is one nano-dollar per token. */
const usdPerMillion = z
  .number()
  .min(0)
  .max(10_000)
  .refine((value) => Math.abs(value * 1000 - Math.round(value * 1000)) < 1e-6, {
    error: 'has at most three decimals',
  })

const tokenPrices = z.strictObject({
  input: usdPerMillion,
  output: usdPerMillion,
  cache_write_5m: usdPerMillion,
  cache_write_1h: usdPerMillion,
  cache_read: usdPerMillion,
})
export type TokenPrices = z.infer<typeof tokenPrices>

/** USD per million tokens. A request whose prompt (input, cache reads and writes) is longer pays `long_prompt` for every token of it. */
const modelPrices = tokenPrices.extend({
  long_prompt: tokenPrices.extend({ above_prompt_tokens: z.int().positive() }).optional(),
})
export type ModelPrices = z.infer<typeof modelPrices>

const prices = z.strictObject({
  /** By model id, without date and without what a provider puts around it. */
  models: z.record(z.string().min(1).max(256), modelPrices),
  /** USD per thousand web searches. */
  web_search_per_1000: usdPerMillion,
  /** USD per hour in which a session runs. */
  running_hour: usdPerMillion,
})
export type Prices = z.infer<typeof prices>

/** What an operator may give: it stands in place of what the table has. The running hour is the wire profile's. */
export const ownPrices = prices.omit({ running_hour: true }).partial()
export type OwnPrices = z.infer<typeof ownPrices>

const tier = (input: number, output: number, cacheRead: number): TokenPrices => ({
  input,
  output,
  cache_write_5m: input * 1.25,
  cache_write_1h: input * 2,
  cache_read: cacheRead,
})

/**
 * Source: https://platform.claude.com/docs/en/about-claude/pricing (tokens, web search) and .../managed-agents/budgets (running hour), as of
 * 2026-11-22; every model's tier also stands so in the catalog of the pinned CLI, 2.1.330.
 */
export const listPrices: Prices = {
  models: {
    'claude-fable-5-2': tier(8, 40, 0.2),
    'claude-fable-5-1': tier(10, 50, 0.25),
    'claude-fable-5': tier(10, 50, 1),
    'claude-mythos-5-2': tier(8, 40, 0.2),
    'claude-mythos-5-1': tier(10, 50, 0.25),
    'claude-mythos-5': tier(10, 50, 1),
    'claude-opus-5-5': tier(4, 20, 0.2),
    'claude-opus-5': tier(5, 25, 0.5),
    'claude-opus-4-8': tier(5, 25, 0.5),
    'claude-opus-4-7': tier(5, 25, 0.5),
    'claude-opus-4-6': tier(5, 25, 0.5),
    'claude-opus-4-5': tier(5, 25, 0.5),
    'claude-opus-4-1': tier(15, 75, 1.5),
    'claude-opus-4-0': tier(15, 75, 1.5),
    'claude-opus-4': tier(15, 75, 1.5),
    'claude-sonnet-5-5': tier(2, 10, 0.1),
    'claude-sonnet-5': tier(2, 10, 0.2),
    'claude-sonnet-4-6': tier(3, 15, 0.3),
    'claude-sonnet-4-5': tier(3, 15, 0.3),
    'claude-sonnet-4-0': tier(3, 15, 0.3),
    'claude-sonnet-4': tier(3, 15, 0.3),
    'claude-3-7-sonnet': tier(3, 15, 0.3),
    'claude-3-5-sonnet': tier(3, 15, 0.3),
    'claude-haiku-5-5': {
      ...tier(0.1, 0.5, 0.01),
      long_prompt: { above_prompt_tokens: 100_000, ...tier(0.5, 2.5, 0.05) },
    },
    'claude-haiku-4-5': tier(1, 5, 0.1),
    'claude-3-5-haiku': tier(0.8, 4, 0.08),
  },
  web_search_per_1000: 10,
  running_hour: 0.08,
}

export function layPrices(base: Prices, own: OwnPrices): Prices {
  return {
    models: { ...base.models, ...own.models },
    web_search_per_1000: own.web_search_per_1000 ?? base.web_search_per_1000,
    running_hour: base.running_hour,
  }
}

/** `us.anthropic.claude-haiku-4-5-20251001-v1:0`, `claude-haiku-4-5@20251001` and `claude-haiku-4-5[1m]` are one model. */
const spelling = /^(?:.*[./])?(?<name>claude-[a-z0-9-]+?)(?:[-@]\d{8})?(?:-v\d+(?::\d+)?)?(?:\[1m\])?$/

/** Undefined: the model has no list price. Names are looked up as they are before they are taken apart. */
export function pricesOf(table: Prices, model: string): ModelPrices | undefined {
  const names = [model, spelling.exec(model.toLowerCase())?.groups?.['name']]
  const known = names.find((name) => name !== undefined && Object.hasOwn(table.models, name))
  return known === undefined ? undefined : table.models[known]
}
