import { DatabaseSync } from 'node:sqlite'
import { BerthError } from '@berth/protocol/error'

/**
 * One gateway per state directory: an exclusive lock on a file, which the kernel takes back from a process that dies in whatever way.
 * Throws `conflict` when another one has it.
 */
export function lockState(path: string): Disposable {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode = DELETE')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    throw new BerthError('conflict', `another gateway is running on this state directory (${path} is locked)`, {
      cause: error,
    })
  }
  return { [Symbol.dispose]: () => database.close() }
}
