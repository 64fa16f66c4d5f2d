import type { Db } from './store.ts'

/** A number that only grows; taken once by every server that starts on this database. */
export async function nextEpoch(db: Db, _args: object): Promise<number> {
  const row = await db.selectFrom('meta').select('value').where('key', '=', 'epoch').executeTakeFirst()
  const epoch = Number(row?.value ?? 0) + 1
  await db
    .insertInto('meta')
    .values({ key: 'epoch', value: String(epoch) })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value: String(epoch) }))
    .execute()
  return epoch
}
