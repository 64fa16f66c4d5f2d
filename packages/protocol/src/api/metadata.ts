import { z } from 'zod'
import { text } from './text.ts'

export const metadataLimits = { pairs: 16, key: 64, value: 512 } as const

const key = text({ min: 1, max: metadataLimits.key })
const value = text({ max: metadataLimits.value })

/** What an object carries: at most 16 pairs. Always an object in answers, never null. */
export const metadata = z.record(key, value).refine((pairs) => Object.keys(pairs).length <= metadataLimits.pairs, {
  error: `must have at most ${metadataLimits.pairs} pairs`,
})
export type Metadata = z.infer<typeof metadata>

/** A change of it: a string sets the key, null deletes it. The limit on pairs holds for the result. */
export const metadataPatch = z.record(key, value.nullable())
export type MetadataPatch = z.infer<typeof metadataPatch>
