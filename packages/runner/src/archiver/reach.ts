import { closeSync, constants, openSync } from 'node:fs'
import { native } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'
import { O_PATH } from './place.ts'

const { O_DIRECTORY, O_NOFOLLOW } = constants

/**
 * Calls `use` with a way to the last part of a path below a root, where no part before it is a link. Throws the system's error where there is no
 * such directory.
 */
export function reach<Result>(root: string, path: BytePath, use: (path: string | Buffer) => Result): Result {
  const parts = path.split('/')
  const last = parts.pop() ?? ''
  let fd = openSync(root, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    for (const part of parts) {
      const below = openSync(native(`/proc/self/fd/${fd}/${part}`), O_PATH | O_DIRECTORY | O_NOFOLLOW)
      closeSync(fd)
      fd = below
    }
    return use(native(`/proc/self/fd/${fd}/${last}`))
  } finally {
    closeSync(fd)
  }
}
