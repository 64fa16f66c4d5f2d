/** Answers of requests, kept beside the note of their effect; and the end of both. */
import { z } from 'zod'
import { claimKey, findRequest, type KeyedRequest } from './run-once.ts'
import type { Db } from './store.ts'

const keptAnswer = z.object({
  requestId: z.string(),
  status: z.int(),
  headers: z.array(z.tuple([z.string(), z.string()])),
  body: z.string(),
})
export type KeptAnswer = z.infer<typeof keptAnswer>

/** Undefined while there is none. `conflict` when the key belongs to another request. */
export async function findAnswer(db: Db, once: KeyedRequest): Promise<KeptAnswer | undefined> {
  return toAnswer((await findRequest(db, once))?.answer)
}

/**
 * Answers what every request of this key is to be answered: this answer, or one that was kept before it. Undefined when it is a refusal
 * although the request has had its effect: that is not kept. `conflict` when the key belongs to another request.
 */
export async function keepAnswer(
  db: Db,
  { once, answer }: { once: KeyedRequest; answer: KeptAnswer },
): Promise<KeptAnswer | undefined> {
  const json = JSON.stringify(answer)
  if (await claimKey(db, once, { operation: null, answer: json })) return answer
  const noted = await findRequest(db, once)
  const kept = toAnswer(noted?.answer)
  if (kept !== undefined) return kept
  if (answer.status >= 400) return undefined
  await db
    .updateTable('requests')
    .set({ answer: json, result: null })
    .where('scope', '=', once.scope)
    .where('key', '=', once.key)
    .execute()
  return answer
}

function toAnswer(json: string | null | undefined): KeptAnswer | undefined {
  return json == null ? undefined : keptAnswer.parse(JSON.parse(json))
}

/** Of requests whose retry is not to be told from a new request any more. */
export async function forgetRequests(db: Db, { requestIds }: { requestIds: readonly string[] }): Promise<void> {
  for (const id of requestIds) await db.deleteFrom('requests').where('request_id', '=', id).execute()
}

/** Removes at most `limit` that were accepted before the time, oldest first; answers how many. */
export async function expireRequests(db: Db, { before, limit }: { before: string; limit: number }): Promise<number> {
  const oldest = db.selectFrom('requests').select('request_id').where('created_at', '<', before)
  const { numDeletedRows } = await db
    .deleteFrom('requests')
    .where('request_id', 'in', oldest.orderBy('created_at').limit(limit))
    .executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}
