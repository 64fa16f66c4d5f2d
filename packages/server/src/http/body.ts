/** Reads request bodies: bounded while reading, whatever their headers say, and looked at before anything is built from them. */
import { BerthError } from '@berth/protocol'
import { createMiddleware } from 'hono/factory'
import type { AppEnv } from './context.ts'
import { CONTENT_PATH } from './session-files.ts'

export const MAX_BODY_BYTES = 32 * 1024 * 1024
/** Of a body that is too large, this much more is read and thrown away, so that a client that is still sending gets to read the answer. */
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024
/** Deeper than any schema of ours and any JSON Schema in use; bounds the recursion of whatever walks the value. */
const MAX_DEPTH = 128
/** Fields and elements, wherever they are: what takes seconds to parse and check holds everybody up. */
const MAX_VALUES = 100_000

/** Of the methods in use; a body that comes with another is not looked at. */
const withBody = new Set(['POST', 'PUT', 'PATCH'])
const jsonType = /^application\/([\w.-]+\+)?json$/i

export const readBody = createMiddleware<AppEnv>(async (c, next) => {
  // Its route takes the bytes as they come.
  if (c.req.method === 'PUT' && CONTENT_PATH.test(c.req.path)) return next()
  const stream = withBody.has(c.req.method) ? c.req.raw.body : null
  const bytes = stream === null ? undefined : await readBounded(stream)
  if (bytes === undefined || bytes.byteLength === 0) return next()
  if ((c.req.header('content-encoding') ?? 'identity') !== 'identity') {
    throw new BerthError('invalid_request', 'content-encoding: must be left out; compressed bodies are not read')
  }
  const type = c.req.header('content-type') ?? ''
  if (!jsonType.test((type.split(';')[0] ?? '').trim())) {
    throw new BerthError('invalid_request', 'content-type: must be application/json')
  }
  const text = decode(bytes)
  checkShape(text)
  c.set('body', text)
  c.req.raw = new Request(c.req.raw, { method: c.req.method, body: text })
  return next()
})

async function readBounded(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of stream) {
      size += chunk.byteLength
      if (size <= MAX_BODY_BYTES) chunks.push(chunk)
      else chunks.length = 0
      if (size > MAX_BODY_BYTES + MAX_DISCARDED_BYTES) break
    }
  } catch (cause) {
    throw new BerthError('invalid_request', 'body: was cut off', { cause })
  }
  if (size > MAX_BODY_BYTES) throw new BerthError('too_large', `body: is over ${MAX_BODY_BYTES} bytes`)
  return Buffer.concat(chunks)
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new BerthError('invalid_request', 'body: is not UTF-8', { cause })
  }
}

const MARK = /["[\]{},]/g
const STRING_END = /["\\]/g

function checkShape(json: string): void {
  let depth = 0
  let values = 0
  MARK.lastIndex = 0
  for (let found = MARK.exec(json); found !== null; found = MARK.exec(json)) {
    const [mark] = found
    if (mark === '"') MARK.lastIndex = afterString(json, MARK.lastIndex)
    else if (mark === ']' || mark === '}') depth--
    else {
      values++
      if (mark !== ',') depth++
    }
    if (depth > MAX_DEPTH) throw new BerthError('invalid_request', `body: is nested more than ${MAX_DEPTH} deep`)
    if (values > MAX_VALUES) throw new BerthError('invalid_request', `body: holds more than ${MAX_VALUES} values`)
  }
}

/** The place after the string whose first character is at `start`. Text that is no JSON is the parser's to refuse. */
function afterString(json: string, start: number): number {
  STRING_END.lastIndex = start
  for (let found = STRING_END.exec(json); found !== null; found = STRING_END.exec(json)) {
    if (found[0] === '"') return STRING_END.lastIndex
    STRING_END.lastIndex += 1
  }
  return json.length
}
