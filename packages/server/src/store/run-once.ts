/**
 * One effect per request. What an operation did for a request is noted in the transaction that did it, so that the request, when it comes
 * again, is told the same result and does nothing, whatever was killed in between.
 */
import { BerthError } from '@berth/protocol'
import type { Selectable } from 'kysely'
import type { Database } from './schema.ts'
import type { Db } from './store.ts'

interface AnyRequest {
  readonly requestId: string
  /** Equal for equal requests, and for no others. */
  readonly fingerprint: string
  readonly now: string
}

/** A request that its client has named: whatever comes under this key is this request. */
export interface KeyedRequest extends AnyRequest {
  readonly by: 'key'
  /** Whose key it is. */
  readonly scope: string
  readonly key: string
}

/** A request that its client has not named but may mark as a retry: then it is the newest one of its place, if it equals that. */
export interface MarkedRequest extends AnyRequest {
  readonly by: 'mark'
  readonly scope: string
  /** The place, of which the newest request alone is noted. */
  readonly key: string
  /** Null: it is no retry. Else the newest is meant only if it was accepted from this time on. */
  readonly retrySince: string | null
}

export type Once = KeyedRequest | MarkedRequest

interface Effect {
  readonly operation: string
  readonly run: () => Promise<unknown>
}

export type RequestRow = Selectable<Database['requests']>

/** `conflict` when the key belongs to another request; `unavailable` when the request has been answered since it was looked for. */
export async function runOnce(db: Db, once: Once, effect: Effect): Promise<unknown> {
  return once.by === 'key' ? runKeyed(db, once, effect) : runMarked(db, once, effect)
}

async function runKeyed(db: Db, once: KeyedRequest, effect: Effect): Promise<unknown> {
  // The row comes before the effect: where transactions run side by side, the second waits here for the first.
  if (await claimKey(db, once, { operation: effect.operation, answer: null })) {
    const result = await effect.run()
    await db
      .updateTable('requests')
      .set({ result: toNote(result) })
      .where('request_id', '=', once.requestId)
      .execute()
    return result
  }
  const noted = await findRequest(db, once)
  if (noted?.result == null) throw new BerthError('unavailable', 'the same request was answered meanwhile')
  if (noted.operation !== effect.operation) {
    throw new TypeError(`one request is to run both ${noted.operation} and ${effect.operation}`)
  }
  return JSON.parse(noted.result)
}

async function runMarked(db: Db, once: MarkedRequest, effect: Effect): Promise<unknown> {
  const { requestId: request_id, scope, key, fingerprint, now: created_at } = once
  const newest = once.retrySince === null ? undefined : await selectRequest(db, once)
  if (newest?.result != null && isRetryOf(once, newest, effect)) {
    // Its answer is this request's to deliver now.
    await db.updateTable('requests').set({ request_id }).where('request_id', '=', newest.request_id).execute()
    return JSON.parse(newest.result)
  }
  const result = await effect.run()
  const note = { request_id, fingerprint, created_at, operation: effect.operation, result: toNote(result) }
  await db
    .insertInto('requests')
    .values({ scope, key, ...note, answer: null })
    .onConflict((conflict) => conflict.columns(['scope', 'key']).doUpdateSet(note))
    .execute()
  return result
}

function isRetryOf({ retrySince, fingerprint }: MarkedRequest, newest: RequestRow, { operation }: Effect): boolean {
  if (retrySince === null || newest.created_at < retrySince) return false
  return newest.fingerprint === fingerprint && newest.operation === operation
}

/** False when the key is taken. */
export async function claimKey(
  db: Db,
  once: KeyedRequest,
  by: { operation: string | null; answer: string | null },
): Promise<boolean> {
  const { scope, key, requestId: request_id, fingerprint, now: created_at } = once
  const claimed = await db
    .insertInto('requests')
    .values({ scope, key, request_id, fingerprint, created_at, ...by, result: null })
    .onConflict((conflict) => conflict.columns(['scope', 'key']).doNothing())
    .returning('key')
    .executeTakeFirst()
  return claimed !== undefined
}

/** What is noted under the key; `conflict` when that is another request. */
export async function findRequest(db: Db, once: KeyedRequest): Promise<RequestRow | undefined> {
  const noted = await selectRequest(db, once)
  if (noted === undefined || noted.fingerprint === once.fingerprint) return noted
  throw new BerthError('conflict', 'Idempotency-Key: was used before, for a request with another path or body', {
    details: { error_code: 'idempotency_key_reused' },
  })
}

async function selectRequest(db: Db, { scope, key }: Once): Promise<RequestRow | undefined> {
  return db.selectFrom('requests').selectAll().where('scope', '=', scope).where('key', '=', key).executeTakeFirst()
}

/** The result as it will be told again: without what the first telling has published. */
function toNote(result: unknown): string {
  const isCommitted = typeof result === 'object' && result !== null && 'events' in result && 'commands' in result
  return JSON.stringify(isCommitted ? { ...result, events: [], commands: [], isRepeat: true } : (result ?? null))
}
