import type { Db } from './store.ts'

/** A number that only grows; taken once by every server that starts on this database. */
export async function nextServerNumber(db: Db, _args: object): Promise<number> {
  const row = await db.selectFrom('meta').select('value').where('key', '=', 'server_number').executeTakeFirst()
  const number = Number(row?.value ?? 0) + 1
  await db
    .insertInto('meta')
    .values({ key: 'server_number', value: String(number) })
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ value: String(number) }))
    .execute()
  return number
}

/** The secret that signed URLs of ports are made with: the one there is, else `fresh` from now on. */
export async function ensurePortSecret(db: Db, args: { fresh: string }): Promise<string> {
  await db
    .insertInto('meta')
    .values({ key: 'port_secret', value: args.fresh })
    .onConflict((conflict) => conflict.column('key').doNothing())
    .execute()
  const row = await db.selectFrom('meta').select('value').where('key', '=', 'port_secret').executeTakeFirstOrThrow()
  return row.value
}
