/** Lists: how a page is asked for and answered. */
import { z } from 'zod'

/** `{ data, next_page }`; the list ends where `next_page` is null. */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.object({ data: z.array(item), next_page: z.string().nullable() })
export type Page<Item> = { data: Item[]; next_page: string | null }

/** A page that can also be turned back. */
export const bidirectionalPageOf = <Item extends z.ZodType>(item: Item) =>
  pageOf(item).extend({ prev_page: z.string().nullable() })
export type BidirectionalPage<Item> = Page<Item> & { prev_page: string | null }

/** Queries are text: the number is read here, strictly. */
export const limitQuery = (limits: { default: number; max: number }) =>
  z
    .string()
    .regex(/^\d{1,9}$/, { error: 'must be a whole number' })
    .transform(Number)
    .pipe(z.int().min(1).max(limits.max))
    .default(limits.default)
    .meta({ type: 'integer', minimum: 1, maximum: limits.max, default: limits.default })

/** The number of an agent's version. */
export const versionQuery = z
  .string()
  .regex(/^[1-9]\d{0,8}$/, { error: 'must be a whole number of at least 1' })
  .transform(Number)
  .optional()
  .meta({ type: 'integer', minimum: 1 })

/** An opaque cursor. Other clients send `page=` or `page=null` for none. */
export const pageQuery = z
  .string()
  .max(4096)
  .optional()
  .transform((value) => (value === '' || value === 'null' ? undefined : value))

export const booleanQuery = z
  .enum(['true', 'false'])
  .default('false')
  .transform((value) => value === 'true')

export const orderQuery = z.enum(['asc', 'desc'])

/** A bound of a `created_at[…]` filter: RFC 3339, brought to UTC milliseconds so that text compares like time. */
export const timeQuery = z.iso
  .datetime({ offset: true, error: 'must be an RFC 3339 time' })
  .transform((value) => new Date(value).toISOString())
  .optional()
