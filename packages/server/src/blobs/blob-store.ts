/**
 * Blobs: pieces of some MiB, written once under a key, read in ranges and deleted whole. The contract is as small as what every object
 * storage can do.
 *
 * *Keys* are parts of letters, digits, `-` and `_`, joined by `/`; `assertKey` refuses any other, so that none leads out of anything.
 * *Sizes*: a blob has at most 64 MiB and is held in memory. *Durability*: when `put` has resolved, the blob outlives a power failure; when it
 * rejects or the power fails before, the blob is there whole or not at all, and what it leaves is removed by the next opening. *Errors*
 * are `BerthError`: `unavailable` on a full disk, and nothing was changed; `not_found` for a key that is not there. Others are faults as they come.
 */
import { BerthError } from '@berth/protocol'

export interface BlobStore extends AsyncDisposable {
  /** The parts one after another. A blob that is there is replaced. */
  put(key: string, parts: readonly Uint8Array[]): Promise<void>
  /** All of it, or the bytes of the range; fewer where the blob ends before. */
  get(key: string, range?: BlobRange): Promise<Uint8Array<ArrayBuffer>>
  /** Succeeds when it is not there. One that was deleted right before a power failure may be there again. */
  delete(key: string): Promise<void>
  /** Keys that begin with the prefix, in no order. What is written or deleted meanwhile may be among them or not. */
  list(prefix: string): AsyncIterable<string>
}

export interface BlobRange {
  readonly start: number
  readonly length: number
}

const key = /^[A-Za-z0-9_-]{1,128}(?:\/[A-Za-z0-9_-]{1,128}){0,7}$/

export function assertKey(text: string): void {
  if (!key.test(text)) throw new BerthError('invalid_request', `${JSON.stringify(text)} is no key of a blob`)
}
