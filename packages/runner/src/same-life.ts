import type { SessionConfig } from '@berth/protocol/link'
import { isDeepStrictEqual } from 'node:util'

/** Whether a CLI started with the one config serves the other. Whether it was to resume matters only when it started. */
export function sameLife(one: SessionConfig | undefined, other: SessionConfig): boolean {
  return one !== undefined && isDeepStrictEqual({ ...one, resume: true }, { ...other, resume: true })
}
