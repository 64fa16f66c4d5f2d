import type { Limits, LimitsParams } from '@berth/protocol/api/limits'

/** Omitted keeps, null removes. */
export function acceptLimits(params: LimitsParams | null | undefined, current: Limits): Limits {
  const keep = <Value>(value: Value | null | undefined, old: Value | null): Value | null =>
    value === undefined ? old : value
  return {
    max_turns: keep(params?.max_turns, current.max_turns),
    turn_seconds: keep(params?.turn_seconds, current.turn_seconds),
    idle_seconds: keep(params?.idle_seconds, current.idle_seconds),
  }
}
