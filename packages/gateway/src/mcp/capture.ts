import type { IncomingMessage } from 'node:http'
import type { CredentialValidation } from '@berth/protocol/gateway-vault'
import { replaceAll, replaceInBeginning, type Replacement } from '../egress/replace-stream.ts'
import { isPlain } from './answer.ts'

export type Captured = NonNullable<NonNullable<CredentialValidation['mcp_probe']>['http_response']>

const MAX_READ = 64 * 1024
const MAX_SHOWN = 2 * 1024

/** A short answer, as it came. */
export interface Short {
  readonly incoming: IncomingMessage
  readonly text: string
  /** False: there was more, or it broke off. */
  readonly isWhole: boolean
}

/** Reads at most 64 KiB of an answer; none of one that is encoded. Never rejects. */
export async function readShort(incoming: IncomingMessage): Promise<Short> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    if (isPlain(incoming)) {
      for await (const chunk of incoming) {
        if (!Buffer.isBuffer(chunk)) continue
        chunks.push(chunk)
        bytes += chunk.length
        if (bytes > MAX_READ) break
      }
    }
  } catch {
    // It broke off: this is all that there is.
  }
  const isWhole = incoming.complete && bytes <= MAX_READ
  return { incoming, text: Buffer.concat(chunks).subarray(0, MAX_READ).toString('utf8'), isWhole }
}

/** What may be shown of an answer: its beginning, without these secrets. */
export function capture({ incoming, text, isWhole }: Short, secrets: readonly Replacement[]): Captured {
  const all = Buffer.from(text)
  const scrubbed = isWhole ? Buffer.from(replaceAll(text, secrets)) : replaceInBeginning(all, secrets)
  return {
    status: incoming.statusCode ?? 0,
    content_type: replaceAll(incoming.headers['content-type'] ?? '', secrets).slice(0, 200),
    body: scrubbed.subarray(0, MAX_SHOWN).toString('utf8'),
    body_truncated: !isWhole || scrubbed.length > MAX_SHOWN,
  }
}
