import type { IncomingMessage } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import { EgressRefusal } from '../egress/refusal.ts'
import { backwards, formFor } from './forms.ts'
import { replaceIn, type Replacement, replacingOnRecord } from './replacer.ts'
import type { HostSecret } from './session-secrets.ts'

/** Longer bodies get no length: what becomes of them is known when they have passed. */
const MAX_HELD_BODY = 64 * 1024

/** What says whose or how long a message is: nothing of it stands for anything else. */
const asTheyAre = new Set(['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade'])
/** A secret of which the answer had a part alone would not be found in it. */
const leftOut = new Set(['accept-encoding', 'range', 'if-range'])

/** A request with the secrets in it. */
export interface InjectedRequest {
  /** Name and value in turns. */
  readonly headers: string[]
  readonly body: Readable
  /** Through which the body has to go. */
  readonly stages: Duplex[]
  /** Of those that are in the headers, and in a body that was read already. */
  readonly names: readonly string[]
  /** By which the answer gets the placeholders back. */
  readonly backwards: readonly Replacement[]
}

interface Given {
  readonly request: IncomingMessage
  /** As they would go out without secrets. */
  readonly headers: readonly string[]
  readonly secrets: readonly HostSecret[]
  /** Called before a secret that `names` has not goes out in the body. */
  readonly found: (names: readonly string[]) => Promise<void>
}

/** Throws an `EgressRefusal` when a secret cannot stand where its placeholder does. */
export async function injectedRequest({ request, headers, secrets, found }: Given): Promise<InjectedRequest> {
  const injected = injectHeaders(headers, secrets)
  const bodily = secrets.filter(({ injection }) => injection.body)
  const form = formFor(request.headers['content-type'])
  const replacements = bodily.map(({ name, placeholder, value }) => ({
    name,
    from: Buffer.from(placeholder),
    to: Buffer.from(form(value)),
  }))
  const common = { backwards: [...backwards(secrets), ...injected.encoded] }
  if (bodily.length === 0 || !isReadable(request)) {
    return { ...common, headers: injected.headers, body: request, stages: [], names: [...injected.names] }
  }
  const length = Number(request.headers['content-length'] ?? Infinity)
  if (length <= MAX_HELD_BODY) {
    const { bytes, found: inBody } = replaceIn(await read(request, length), replacements)
    const framed = withFraming(injected.headers, ['Content-Length', String(bytes.length)])
    const names = [...new Set([...injected.names, ...inBody])]
    return { ...common, headers: framed, body: Readable.from([bytes]), stages: [], names }
  }
  const framed = withFraming(injected.headers, ['Transfer-Encoding', 'chunked'])
  return {
    ...common,
    headers: framed,
    body: request,
    stages: [replacingOnRecord(replacements, found)],
    names: [...injected.names],
  }
}

/** Is there a body, and is it what it looks like? */
function isReadable({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  if (headers['transfer-encoding'] === undefined && (length === undefined || Number(length) === 0)) return false
  return (headers['content-encoding'] ?? 'identity').toLowerCase() === 'identity'
}

/** In one piece, in which also a body that comes byte by byte weighs no more than its bytes. */
async function read(request: IncomingMessage, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length)
  let at = 0
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) at += chunk.copy(bytes, at)
  return bytes.subarray(0, at)
}

function withFraming(headers: readonly string[], framing: readonly string[]): string[] {
  const others = pairsOf(headers).filter(
    ([name]) => !['content-length', 'transfer-encoding'].includes(name.toLowerCase()),
  )
  return [...others.flat(), ...framing]
}

export function pairsOf(headers: readonly string[]): [name: string, value: string][] {
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < headers.length; at += 2) pairs.push([headers[at] ?? '', headers[at + 1] ?? ''])
  return pairs
}

interface InjectedHeaders {
  readonly headers: string[]
  readonly names: Set<string>
  /** Of what was put into `Basic`, which an answer may show as it was sent. */
  readonly encoded: Replacement[]
}

function injectHeaders(headers: readonly string[], secrets: readonly HostSecret[]): InjectedHeaders {
  const done: InjectedHeaders = { headers: [], names: new Set(), encoded: [] }
  const replacements = secrets
    .filter(({ injection }) => injection.header)
    .map(({ name, placeholder, value }) => ({ name, from: Buffer.from(placeholder), to: Buffer.from(value) }))
  const replace = (bytes: Buffer): Buffer => {
    const { bytes: replaced, found } = replaceIn(bytes, replacements)
    for (const name of found) done.names.add(name)
    return replaced
  }
  for (const [name, value] of pairsOf(headers)) {
    const lower = name.toLowerCase()
    if (leftOut.has(lower)) continue
    const text = asTheyAre.has(lower) ? value : withSecrets(name, value, replace)
    const before = lower === 'authorization' ? basicOf(value) : undefined
    const after = before === undefined ? undefined : injectBasic(before, replace)
    if (before === undefined || after === undefined || after === before) done.headers.push(name, text)
    else {
      done.headers.push(name, `Basic ${after}`)
      done.encoded.push({ name: 'Basic', from: Buffer.from(after), to: Buffer.from(before) })
    }
  }
  done.headers.push('Accept-Encoding', 'identity')
  return done
}

function withSecrets(name: string, value: string, replace: (bytes: Buffer) => Buffer): string {
  const bytes = Buffer.from(value, 'latin1')
  const replaced = replace(bytes)
  if (replaced.equals(bytes)) return value
  const text = replaced.toString('latin1')
  if (/^[\t\x20-\x7e]*$/.test(text)) return text
  throw new EgressRefusal(502, 'secret', `a secret of the session cannot stand in the header ${name}`)
}

function basicOf(value: string): string | undefined {
  return /^basic +(?<encoded>[A-Za-z0-9+/_-]+={0,2}) *$/i.exec(value)?.groups?.encoded
}

/** The same when there is no placeholder in it. */
function injectBasic(encoded: string, replace: (bytes: Buffer) => Buffer): string {
  const bytes = Buffer.from(encoded, 'base64')
  const colon = bytes.indexOf(':')
  if (colon < 0) return encoded
  const user = replace(bytes.subarray(0, colon))
  const password = replace(bytes.subarray(colon + 1))
  const whole = Buffer.concat([user, Buffer.from(':'), password])
  if (whole.equals(bytes)) return encoded
  if (user.includes(':')) throw new EgressRefusal(502, 'secret', 'a secret with a colon cannot be the user of Basic')
  return whole.toString('base64')
}
