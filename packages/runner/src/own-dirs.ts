import type { OwnDirs } from '@berth/protocol/own-dirs'
import { chmodSync, chownSync, lstatSync, mkdirSync, rmdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { actingAs } from './acting-as.ts'

/** What is above them: all may pass, only its owner, who is no session, may write. */
const CLOSED = 0o755
/** The same, written to by the group that it is lent to. */
const LENT = 0o775

/**
 * Makes those of a session's directories that are missing. The runner may change its uid and gid, but give no file away: so the directory above is
 * lent to the session's group, the new one is made under the session's uid, and the upper one is closed again, all in one synchronous step. No
 * process of the uid runs before its directories are there, so that nobody else makes use of the loan. Throws when a path is another's.
 */
export function makeOwnDirs(dirs: OwnDirs, uid: number): void {
  for (const { path, mode } of dirs) {
    const there = lstatSync(path, { throwIfNoEntry: false })
    if (there === undefined) makeDir(path, mode, uid)
    else if (!there.isDirectory() || there.uid !== uid) throw new Error(`${path} belongs to another user`)
  }
}

/** Removes those that are empty. What another session has put into one stays, and the directory with it. */
export function removeOwnDirs(dirs: OwnDirs): void {
  for (const { path } of dirs) {
    const above = dirname(path)
    const { uid, gid } = lstatSync(above)
    try {
      actingAs(uid, gid, () => rmdirSync(path))
    } catch {
      // Nobody is given its name or its owner again.
    }
  }
}

function makeDir(path: string, mode: number, uid: number): void {
  const above = dirname(path)
  const owner = lstatSync(above).uid
  actingAs(owner, uid, () => {
    chownSync(above, owner, uid)
    chmodSync(above, LENT)
  })
  try {
    actingAs(uid, uid, () => {
      mkdirSync(path)
      chmodSync(path, mode)
    })
  } finally {
    actingAs(owner, uid, () => chmodSync(above, CLOSED))
  }
}
