import type { ArchiveReply, ArchiveRequest } from '@berth/protocol/archive'

/** A channel whose other end is an archive helper. Whoever makes it has checked each reply against `archiveReply`. */
export interface ArchiveChannel extends AsyncDisposable {
  /** Resolves when there is room for more. One call at a time. */
  send(message: ArchiveRequest | Uint8Array): Promise<void>
  /** Undefined: the channel is closed. One call at a time, beside a `send`. */
  read(signal: AbortSignal): Promise<ArchiveReply | Uint8Array | undefined>
}
