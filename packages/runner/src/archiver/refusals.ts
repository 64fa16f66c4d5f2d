import type { ArchiveReply } from '@berth/protocol/archive'
import { toWire } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'

type Saved = ArchiveReply & { type: 'saved' }

const NAMED = 100
/** A hundred longer ones would be too much for a message. */
const MAX_PATH_BYTES = 8 * 1024

/** What could not be kept as it is. */
export class Refusals {
  readonly refused: Saved['refused'] = []
  refused_count = 0

  add(root: string, path: BytePath, why: string): void {
    this.refused_count++
    if (this.refused.length < NAMED && path.length <= MAX_PATH_BYTES)
      this.refused.push({ r: root, p: toWire(path), why })
  }
}
