/** The data directory: one server at a time. */
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { BerthError } from '@berth/protocol'
import { isBusy } from './store/sqlite/faults.ts'

/**
 * Makes the directory (0700) if need be and locks it. The lock is one of SQLite's own file locks, which the kernel releases with the
 * process: nothing is left to clean up after a crash. Throws `unavailable` when another server holds it.
 */
export async function claimDataDir(dir: string): Promise<Disposable> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await chmod(dir, 0o700)
  const lock = new DatabaseSync(join(dir, 'server.lock'), { timeout: 0 })
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    if (!isBusy(error))
      throw new BerthError('unavailable', `${dir} cannot be locked: ${String(error)}`, { cause: error })
    throw new BerthError('unavailable', `${dir} is in use by another berth server`, { cause: error })
  }
  return { [Symbol.dispose]: () => lock.close() }
}
