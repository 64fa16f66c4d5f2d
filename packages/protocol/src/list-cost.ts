/**
 * List cost, in nano-dollars (USD 0.000000001): whole numbers, so that nothing is rounded before it is shown. Numbers are safe up to nine
 * million dollars.
 */
import type { ModelPrices, Prices, TokenPrices } from './prices.ts'

export const NANO_PER_CENT = 10_000_000
/** USD 9,000,000: more cannot be summed exactly. */
export const MAX_CENTS = 900_000_000

export interface TokenCounts {
  readonly input_tokens: number
  readonly output_tokens: number
  readonly cache_read_input_tokens: number
  readonly cache_creation_5m_input_tokens: number
  readonly cache_creation_1h_input_tokens: number
  readonly web_search_requests: number
}

export const noTokens: TokenCounts = {
  input_tokens: 0,
  output_tokens: 0,
  cache_read_input_tokens: 0,
  cache_creation_5m_input_tokens: 0,
  cache_creation_1h_input_tokens: 0,
  web_search_requests: 0,
}

/** From USD per million (of tokens), or per thousand with `units` 1000. */
function nano(usd: number, units = 1_000_000): number {
  return Math.round((usd * 1_000_000_000) / units)
}

/** What one request costs by these prices. */
export function listCostOf(table: Prices, prices: ModelPrices, used: TokenCounts): number {
  const cached = used.cache_creation_5m_input_tokens + used.cache_creation_1h_input_tokens
  const prompt = used.input_tokens + used.cache_read_input_tokens + cached
  const { long_prompt } = prices
  const per: TokenPrices = long_prompt !== undefined && prompt > long_prompt.above_prompt_tokens ? long_prompt : prices
  return (
    used.input_tokens * nano(per.input) +
    used.output_tokens * nano(per.output) +
    used.cache_read_input_tokens * nano(per.cache_read) +
    used.cache_creation_5m_input_tokens * nano(per.cache_write_5m) +
    used.cache_creation_1h_input_tokens * nano(per.cache_write_1h) +
    used.web_search_requests * nano(table.web_search_per_1000, 1000)
  )
}

/** The most that a request with a prompt of so many tokens and so long an answer can cost, web searches aside. */
export function highestCostOf(prices: ModelPrices, asked: { promptTokens: number; maxTokens: number }): number {
  const bands: readonly TokenPrices[] = prices.long_prompt === undefined ? [prices] : [prices, prices.long_prompt]
  const dearest = (pick: (band: TokenPrices) => number) => Math.max(...bands.map((band) => nano(pick(band))))
  const prompt = dearest(({ input, cache_write_5m, cache_write_1h }) => Math.max(input, cache_write_5m, cache_write_1h))
  return asked.promptTokens * prompt + asked.maxTokens * dearest(({ output }) => output)
}

/** What so much running time of a session costs. */
export function runningCostOf(table: Pick<Prices, 'running_hour'>, ms: number): number {
  return hourlyCostOf(table.running_hour, ms)
}

/** `usdPerHour` over so many milliseconds, to the nearest nano-dollar. */
export function hourlyCostOf(usdPerHour: number, ms: number): number {
  return Math.round((Math.round(usdPerHour * 1_000_000_000) * ms) / 3_600_000)
}

/** Whole cents, as the wire profile shows an amount: rounded half up. */
export function toCents(nanoUsd: number): string {
  return String(Math.floor((nanoUsd + NANO_PER_CENT / 2) / NANO_PER_CENT))
}

export function fromCents(amount: string): number {
  return Number(amount) * NANO_PER_CENT
}

/** Of a decimal such as `25` or `0.50`. */
export function fromUsd(usd: string): number {
  return Math.round(Number(usd) * 1_000_000_000)
}

/** `0.001234567`: exact, without trailing zeros. */
export function toUsd(nanoUsd: number): string {
  const digits = String(nanoUsd).padStart(10, '0')
  const fraction = digits.slice(-9).replace(/0+$/, '')
  return fraction === '' ? digits.slice(0, -9) : `${digits.slice(0, -9)}.${fraction}`
}
