import { z } from 'zod'

const storable = (value: string): boolean => value.isWellFormed() && !value.includes('\u0000')

/**
 * Text that everything behind the API can hold unchanged: well-formed Unicode without NUL. Lengths count UTF-16 code units.
 */
export const text = (limits: { min?: number; max: number }) =>
  z
    .string()
    .min(limits.min ?? 0)
    .max(limits.max)
    .refine(storable, { error: 'must be well-formed Unicode without NUL characters' })

/** Text of any length, for prompts and tool results; the body limit bounds it. */
export const prose = z.string().refine((value) => value.isWellFormed(), { error: 'must be well-formed Unicode' })

/** RFC 3339, UTC, milliseconds. */
export const timestamp = z.string().meta({ format: 'date-time' })

/** An object's id as a client may name it. Ids are opaque to clients; this only keeps nonsense from going further. */
export const idText = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9_-]+$/, { error: 'must be an id (letters, digits, "_" and "-")' })

/** A list that is always empty here: a part of the profile that this server does not have. */
export const none = z.tuple([]).meta({ type: 'array', maxItems: 0 })
