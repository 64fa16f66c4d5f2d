import type { OwnDirs } from '@berth/protocol/own-dirs'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { removeOwnDirs } from './own-dirs.ts'
import { killAllOf } from './uid-sweep.ts'

/** For a disk full of files. */
const REMOVE_MS = 120_000

/** Runs under the session's uid, so that it removes no more than the session could. What is above its directories is closed to it. */
const REMOVE = `
uid=$1
shift
chmod -R u+rwx "$@" 2>/dev/null
rm -rf "$@" 2>/dev/null
find /tmp /dev/shm -user "$uid" -type d -exec chmod u+rwx {} \\; 2>/dev/null
find /tmp /dev/shm -user "$uid" -delete 2>/dev/null
exit 0
`

/** Ends every process of the uid, and removes its directories and what it has in those that all may write to. Safe to repeat. */
export async function removeSession(uid: number, dirs: OwnDirs, signal: AbortSignal): Promise<void> {
  await killAllOf(uid)
  const child = spawn('/bin/sh', ['-c', REMOVE, 'sh', String(uid), ...dirs.map(({ path }) => path)], {
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    stdio: 'ignore',
    uid,
    gid: uid,
    signal: AbortSignal.any([signal, AbortSignal.timeout(REMOVE_MS)]),
    killSignal: 'SIGKILL',
  })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`files of the session could not be removed (${code})`)
  removeOwnDirs(dirs)
}
