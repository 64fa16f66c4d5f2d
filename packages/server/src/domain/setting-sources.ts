import { type BerthEnvironmentParams, type SettingSource, settingSources } from '@berth/protocol/api/environment'
import type { WarmPool } from '@berth/protocol/api/warm-pool'
import { invalid, unsupported } from './refusal.ts'

const FIELD = 'config.berth.setting_sources'

/** Whose files may configure agents; each once, in one order. Omitted keeps, null restores the default: nobody's. */
export function acceptSettingSources(
  wanted: BerthEnvironmentParams['setting_sources'],
  current: readonly SettingSource[],
  pool: WarmPool,
): SettingSource[] {
  const named = wanted === undefined ? current : (wanted ?? [])
  if (named.some((source) => source === 'user')) {
    throw unsupported(
      FIELD,
      'user is not offered: its settings cannot be kept apart from what an agent writes; use project',
    )
  }
  if (new Set(named).size < named.length) throw invalid(FIELD, 'names a source twice')
  if (named.length > 0 && pool.agent !== null) {
    throw invalid(FIELD, 'cannot be combined with warm_pool.agent, whose process starts before there are files to read')
  }
  return settingSources.filter((source) => named.includes(source))
}
