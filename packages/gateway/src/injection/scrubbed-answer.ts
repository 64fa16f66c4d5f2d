import type { IncomingMessage } from 'node:http'
import type { Transform } from 'node:stream'
import { type BrotliOptions, createBrotliDecompress, createGunzip, createInflate, type ZlibOptions } from 'node:zlib'
import { EgressRefusal } from '../egress/refusal.ts'
import { UNREAD_BYTES } from '../egress/unread-bytes.ts'
import { pairsOf } from './injected-request.ts'
import { replaceIn, type Replacement, replacing } from './replacer.ts'

export interface ScrubbedAnswer {
  /** Name and value in turns. */
  readonly headers: string[]
  /** Through which the body has to go. */
  readonly stages: Transform[]
}

interface Given {
  readonly answer: Pick<IncomingMessage, 'headers'>
  /** As they would go to the sandbox. */
  readonly headers: readonly string[]
  readonly hasBody: boolean
  readonly backwards: readonly Replacement[]
}

/**
 * An answer in which secrets are placeholders again. What comes in an encoding though none was asked for is decoded; throws a 502 for one
 * that cannot be.
 */
export function scrubbedAnswer({ answer, headers, hasBody, backwards }: Given): ScrubbedAnswer {
  const scrub = (text: string): string => replaceIn(Buffer.from(text, 'latin1'), backwards).bytes.toString('latin1')
  const kept = pairsOf(headers).filter(([name]) => {
    const lower = name.toLowerCase()
    // A name is not what a secret is shown in, but by a server that means to.
    return scrub(name) === name && !(hasBody && (lower === 'content-length' || lower === 'content-encoding'))
  })
  return {
    headers: kept.flatMap(([name, value]) => [name, scrub(value)]),
    stages: hasBody ? [...decoding(answer.headers['content-encoding']), replacing(backwards)] : [],
  }
}

const unhurried: { readonly highWaterMark: number } & ZlibOptions & BrotliOptions = { highWaterMark: UNREAD_BYTES }

function decoding(encoding: string | undefined): Transform[] {
  switch (encoding?.toLowerCase() ?? 'identity') {
    case 'identity':
    case '':
      return []
    case 'gzip':
    case 'x-gzip':
      return [createGunzip(unhurried)]
    case 'deflate':
      return [createInflate(unhurried)]
    case 'br':
      return [createBrotliDecompress(unhurried)]
    default:
      throw new EgressRefusal(502, 'unreachable', 'the host has answered in an encoding that was not asked for')
  }
}
