/** HTTP as bytes, read without mercy: what of it is not exactly one message after the other is a fault. One character per byte. */
export interface Message {
  readonly start: string
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)$/

/** The requests on one connection. Throws for anything that is none, or is cut off. */
export function requestsIn(text: string): Message[] {
  const messages: Message[] = []
  for (let rest = text; rest !== '';) {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) throw new Error(`no head: ${JSON.stringify(rest.slice(0, 200))}`)
    const [start = '', ...lines] = rest.slice(0, end).split('\r\n')
    if (!/^[A-Z]+ \/[\x21-\x7e]* HTTP\/1\.1$/.test(start)) throw new Error(`no request: ${JSON.stringify(start)}`)
    const headers = lines.map(readHeader)
    const { body, length } = readBody(headers, rest.slice(end + 4))
    messages.push({ start, headers, body })
    rest = rest.slice(end + 4 + length)
  }
  return messages
}

function readHeader(line: string): readonly [string, string] {
  const [, name, value = ''] = HEADER.exec(line) ?? []
  if (name === undefined) throw new Error(`no header: ${JSON.stringify(line)}`)
  return [name.toLowerCase(), value.trim()]
}

function readBody(headers: Message['headers'], rest: string): { body: string; length: number } {
  const lengths = headers.filter(([name]) => name === 'content-length').map(([, value]) => value)
  const codings = headers.filter(([name]) => name === 'transfer-encoding').map(([, value]) => value)
  if (lengths.length + codings.length > 1) throw new Error('two lengths')
  const [length] = lengths
  if (codings.length === 1) return codings[0] === 'chunked' ? readChunks(rest) : fail(`coding ${codings[0]}`)
  if (length === undefined) return { body: '', length: 0 }
  if (!/^(0|[1-9]\d*)$/.test(length) || Number(length) > rest.length) fail(`length ${length}`)
  return { body: rest.slice(0, Number(length)), length: Number(length) }
}

/** Without extensions and trailers, which nobody has to send. */
function readChunks(rest: string): { body: string; length: number } {
  let body = ''
  for (let at = 0; ;) {
    const [line, size = ''] = /^([0-9a-f]+)\r\n/i.exec(rest.slice(at)) ?? fail('a chunk')
    const bytes = Number.parseInt(size, 16)
    at += line.length
    body += rest.slice(at, at + bytes)
    at += bytes
    if (rest.slice(at, at + 2) !== '\r\n') fail('the end of a chunk')
    at += 2
    if (bytes === 0) return { body, length: at }
  }
}

function fail(what: string): never {
  throw new Error(`wrong: ${what}`)
}
