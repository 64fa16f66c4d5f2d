import { BerthError, isBerthError } from '@berth/protocol'

/** Stored bytes are not what was stored: `internal`, `details.error_code` `checkpoint_damaged`. The message names pack and hash. */
export function damaged(where: { pack: string; hash: string }, what: string, cause?: unknown): BerthError {
  return new BerthError('internal', `the pack ${where.pack} ${what}; the bytes of ${where.hash} are lost`, {
    details: { error_code: 'checkpoint_damaged', pack: where.pack, hash: where.hash },
    cause,
  })
}

/** No pack holds the hash. */
export function missing(hash: string): BerthError {
  return new BerthError('internal', `no pack holds the bytes of ${hash}`, {
    details: { error_code: 'checkpoint_damaged', pack: null, hash },
  })
}

export function isDamaged(error: unknown): boolean {
  return isBerthError(error, 'internal') && error.details?.['error_code'] === 'checkpoint_damaged'
}
