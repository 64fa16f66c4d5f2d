/** What the operator has set about money. */
import type { Prices } from '@berth/protocol/prices'

export interface Costs {
  readonly prices: Prices
  /** Nano-dollars that a workspace's model requests may cost per day (UTC); undefined: no limit. */
  readonly workspaceDailyLimit: number | undefined
  /** What an hour of a sandbox costs the operator, in USD. */
  readonly sandboxHourUsd: number
}
