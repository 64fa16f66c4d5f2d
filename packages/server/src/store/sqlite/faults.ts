/** What SQLite's own errors mean to whoever runs or uses the server. */
import { BerthError } from '@berth/protocol'

const SQLITE_BUSY = 5
const SQLITE_CORRUPT = 11
const SQLITE_FULL = 13
const SQLITE_NOTADB = 26
/** The extended code of the file beside the database that can grow no more. */
const SQLITE_IOERR_SHMSIZE = 4_874

/** The error in words of ours where it has a meaning beyond this program; else the error itself. `path` names the database. */
export function explainFault(error: unknown, path: string): unknown {
  const code = faultCode(error)
  if (code === undefined || !(error instanceof Error)) return error
  switch (code === SQLITE_IOERR_SHMSIZE ? SQLITE_FULL : code % 256) {
    case SQLITE_FULL:
      return new BerthError('unavailable', 'the disk of the server is full; nothing was changed, try again later', {
        cause: error,
      })
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new Error(`the database ${path} is damaged (${error.message}); put a backup in its place`, {
        cause: error,
      })
    default:
      return error
  }
}

/** Is the file locked by another process? */
export function isBusy(error: unknown): boolean {
  return (faultCode(error) ?? 0) % 256 === SQLITE_BUSY
}

function faultCode(error: unknown): number | undefined {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  return typeof code === 'number' ? code : undefined
}
