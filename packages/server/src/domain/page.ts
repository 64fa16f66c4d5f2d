/**
 * Cursors and pages. A cursor says which list it belongs to, in which order and which way it reads, and where it stands; positions are
 * the rows' own numbers (`ord`), which never change, so that nothing is skipped or shown twice while rows come and go.
 */
import { createHash } from 'node:crypto'
import type { BidirectionalPage, Page } from '@berth/protocol/api/page'
import { z } from 'zod'
import { invalid } from './refusal.ts'

export type Order = 'asc' | 'desc'

/** Bounds of a `created_at[…]` filter: RFC 3339 in UTC milliseconds. */
export interface TimeBounds {
  readonly gt?: string | undefined
  readonly gte?: string | undefined
  readonly lt?: string | undefined
  readonly lte?: string | undefined
}

/** Which rows of a list are wanted: at most `limit + 1` of them, the last one only to see that there are more. */
export interface Window {
  readonly order: Order
  /** `backward`: the rows before `from`, nearest first. */
  readonly direction: 'forward' | 'backward'
  /** Excluded itself; undefined: from the list's end. */
  readonly from: number | undefined
  readonly limit: number
  readonly created: TimeBounds
}

export interface ListRequest {
  /** Names the list, with everything that makes it another list: workspace, parent. */
  readonly list: string
  readonly order: Order
  readonly limit: number
  readonly page: string | undefined
  readonly created?: TimeBounds
}

export interface Positioned {
  readonly ord: number
  readonly created_at: string
}

const position = z.tuple([z.enum(['asc', 'desc']), z.enum(['forward', 'backward']), z.int(), z.iso.datetime()])
const PREFIX = 'page_'
const CHECK_LENGTH = 12

export function toWindow(request: ListRequest): Window {
  const { order, limit, created = {} } = request
  if (request.page === undefined) return { order, direction: 'forward', from: undefined, limit, created }
  const [ofOrder, direction, from, createdAt] = position.parse(readCursor(request.list, request.page))
  if (ofOrder !== order) throw invalid('page', `belongs to the order ${ofOrder}, not ${order}`)
  if (!isWithin(createdAt, created)) throw invalid('page', 'stands outside of the created_at bounds')
  return { order, direction, from, limit, created }
}

/** `rows` are what the store found for `toWindow(request)`. */
export function toPage<Row extends Positioned, Item>(
  request: ListRequest,
  rows: readonly Row[],
  toItem: (row: Row) => Item,
): Page<Item> {
  const { data, next_page } = toBidirectionalPage(request, rows, toItem)
  return { data, next_page }
}

export function toBidirectionalPage<Row extends Positioned, Item>(
  request: ListRequest,
  rows: readonly Row[],
  toItem: (row: Row) => Item,
): BidirectionalPage<Item> {
  const { direction, from } = toWindow(request)
  const hasMore = rows.length > request.limit
  const found = rows.slice(0, request.limit)
  const shown = direction === 'forward' ? found : found.toReversed()
  const cursor = (way: Window['direction'], row: Row | undefined): string | null =>
    row === undefined ? null : writeCursor(request.list, [request.order, way, row.ord, row.created_at])
  // What lies behind a cursor was there when it was made; ahead, the extra row tells.
  const isForward = direction === 'forward'
  return {
    data: shown.map(toItem),
    next_page: !isForward || hasMore ? cursor('forward', shown.at(-1)) : null,
    prev_page: (isForward ? from !== undefined : hasMore) ? cursor('backward', shown.at(0)) : null,
  }
}

function isWithin(time: string, bounds: TimeBounds): boolean {
  const { gt, gte, lt, lte } = bounds
  return (
    (gt === undefined || time > gt) &&
    (gte === undefined || time >= gte) &&
    (lt === undefined || time < lt) &&
    (lte === undefined || time <= lte)
  )
}

/** An opaque cursor of this list; `value` is JSON-able. */
export function writeCursor(list: string, value: unknown): string {
  const payload = Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${PREFIX}${checksum(list, payload)}${payload}`
}

/** What was put into the cursor. Throws `invalid_request` for one of another list, or none at all. */
export function readCursor(list: string, cursor: string): unknown {
  const payload = cursor.slice(PREFIX.length + CHECK_LENGTH)
  if (cursor !== `${PREFIX}${checksum(list, payload)}${payload}`) throw invalid('page', 'is not a cursor of this list')
  return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
}

/** Tells a cursor of this list from any other text. It hides nothing: a cursor leads nowhere that its holder could not go. */
function checksum(list: string, payload: string): string {
  return createHash('sha256').update(`${list}\n${payload}`).digest('base64url').slice(0, CHECK_LENGTH)
}
