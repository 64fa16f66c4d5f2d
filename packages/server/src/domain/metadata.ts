import { metadataLimits, type Metadata, type MetadataPatch } from '@berth/protocol/api/metadata'
import { invalid } from './refusal.ts'

/** Sets and deletes keys; `isDeletion` says which values delete. The limit on pairs holds for the result. */
export function patchMetadata(
  current: Metadata,
  patch: MetadataPatch | null | undefined,
  isDeletion: (value: string | null) => boolean = (value) => value === null,
): Metadata {
  const result = new Map(Object.entries(current))
  for (const [key, value] of Object.entries(patch ?? {})) {
    if (value === null || isDeletion(value)) result.delete(key)
    else result.set(key, value)
  }
  if (result.size > metadataLimits.pairs) {
    throw invalid('metadata', `must have at most ${metadataLimits.pairs} pairs`, 'invalid_metadata')
  }
  return Object.fromEntries(result)
}
