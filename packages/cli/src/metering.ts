/** The settings about money: read for both who need them, the gateway and the server. */
import { readFileSync } from 'node:fs'
import { BerthError } from '@berth/protocol/error'
import { fromUsd } from '@berth/protocol/list-cost'
import { layPrices, listPrices, ownPrices, type OwnPrices } from '@berth/protocol/prices'
import type { Costs } from '@berth/server'
import type { Config } from '@berth/server/config'
import { settings } from '@berth/server/settings'

export interface MeteringConfig {
  readonly prices: OwnPrices
  /** USD, as a decimal. */
  readonly workspaceDailyLimit: string | undefined
  readonly sandboxHourUsd: number
}

/** Throws `invalid_request` naming the setting, where the file of prices is not one. */
export function meteringOf(config: Pick<Config, 'prices' | 'workspaceDailyLimit' | 'sandboxHourUsd'>): MeteringConfig {
  const { workspaceDailyLimit, sandboxHourUsd } = config
  return { prices: config.prices === undefined ? {} : readPrices(config.prices), workspaceDailyLimit, sandboxHourUsd }
}

function readPrices(path: string): OwnPrices {
  const parsed = ownPrices.safeParse(readJson(path))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const at = (issue?.path ?? []).map(String).join('.')
  throw wrong(path, `${at === '' ? '' : `${at}: `}${issue?.message ?? 'is invalid'}`)
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw wrong(path, error instanceof Error ? error.message : String(error))
  }
}

function wrong(path: string, reason: string): BerthError {
  return new BerthError('invalid_request', `${settings.prices.env} (${path}): ${reason}`)
}

/** What the gateway is started with. */
export function meteringEnv({ prices, workspaceDailyLimit }: MeteringConfig): Record<string, string> {
  return {
    ...(Object.keys(prices).length === 0 ? {} : { BERTH_PRICE_TABLE: JSON.stringify(prices) }),
    ...(workspaceDailyLimit === undefined ? {} : { BERTH_WORKSPACE_DAILY_LIMIT: workspaceDailyLimit }),
  }
}

export function costsOf({ prices, workspaceDailyLimit, sandboxHourUsd }: MeteringConfig): Costs {
  return {
    prices: layPrices(listPrices, prices),
    workspaceDailyLimit: workspaceDailyLimit === undefined ? undefined : fromUsd(workspaceDailyLimit),
    sandboxHourUsd,
  }
}
