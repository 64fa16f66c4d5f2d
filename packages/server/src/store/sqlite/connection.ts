/** One SQLite connection as Kysely wants it, on `node:sqlite`. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { Kysely, SqliteDialect, type SqliteDatabase } from 'kysely'
import type { Database } from '../schema.ts'

const STATEMENT_CACHE = 256

export interface Connection extends Disposable {
  readonly path: string
  readonly raw: DatabaseSync
  readonly db: Kysely<Database>
}

export function openConnection(path: string, options: { readOnly: boolean }): Connection {
  const raw = new DatabaseSync(path, { readOnly: options.readOnly, timeout: 5_000 })
  raw.exec('PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF')
  if (!options.readOnly) raw.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  const db = new Kysely<Database>({ dialect: new SqliteDialect({ database: asKyselyDatabase(raw) }) })
  return { path, raw, db, [Symbol.dispose]: () => raw.close() }
}

function asKyselyDatabase(raw: DatabaseSync): SqliteDatabase {
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    if (statements.size >= STATEMENT_CACHE) statements.clear()
    const statement = raw.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  return {
    close: () => undefined,
    prepare: (sql) => {
      const statement = prepare(sql)
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...toInput(parameters)),
        run: (parameters) => statement.run(...toInput(parameters)),
        iterate: (parameters) => toIterable(statement.iterate(...toInput(parameters))),
      }
    },
  }
}

function* toIterable(rows: Iterable<unknown>): IterableIterator<unknown> {
  yield* rows
}

function toInput(parameters: readonly unknown[]): SQLInputValue[] {
  return parameters.map((value) => {
    if (typeof value === 'boolean') return value ? 1 : 0
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint')
      return value
    throw new TypeError(`a ${typeof value} cannot be an SQL parameter`)
  })
}
