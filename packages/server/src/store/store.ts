/**
 * The store: everything the server must not forget. A store call is one function of `operations.ts`, run whole in one transaction;
 * it resolves when the transaction is durable (SQLite: WAL with synchronous=FULL) and has changed nothing when it rejects.
 * Calls of many sessions share one commit. Functions named find, get, list or count only read.
 */
import type { Kysely } from 'kysely'
import type { Operations } from './operations.ts'
import type { Once } from './run-once.ts'
import type { Database } from './schema.ts'

export type Db = Kysely<Database>

export type Operation<Args, Result> = (db: Db, args: Args) => Promise<Result>

/**
 * `store.createAgent(args)` for every `createAgent(db, args)` of `operations.ts`. One that writes can be given the request it is for: then
 * it has its effect once, and answers the same result whenever it is called for that request again. A request makes one such call.
 */
export type Store = StoreCalls<Operations> & AsyncDisposable

type StoreCalls<Ops> = {
  readonly [Name in keyof Ops]: Ops[Name] extends Operation<infer Args, infer Result>
    ? Name extends Read
      ? (args: Args) => Promise<Result>
      : (args: Args, once?: Once) => Promise<Result>
    : never
}

type Read = `${'find' | 'get' | 'list' | 'count'}${Capitalize<string>}`

export function isRead(operation: string): boolean {
  return /^(find|get|list|count)[A-Z]/.test(operation)
}
