/** A database of its own, with what a session needs to begin. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openSqliteStore } from '../src/store/sqlite/open.ts'
import { makePlaces, type Places } from './session-places.ts'
import type { Stored } from './session-world.ts'

export interface StoredPlaces extends Stored, AsyncDisposable {
  readonly places: Places
}

export async function openStored(): Promise<StoredPlaces> {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'bw-'))
  opened.defer(() => rm(dir, { recursive: true }))
  const path = join(dir, 'berth.db')
  const store = opened.use(await openSqliteStore(path))
  const raw = new DatabaseSync(path, { readOnly: true })
  opened.defer(() => raw.close())
  const places = await makePlaces(store)
  const held = opened.move()
  return { store, raw, places, [Symbol.asyncDispose]: () => held.disposeAsync() }
}
