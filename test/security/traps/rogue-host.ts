/** A host that may be reached and answers as no server should. What it does is chosen by the path of the request. */
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'

/** One connection to it, as it was seen there. */
export interface RogueVisit {
  /** Everything that came, one character per byte; of endless bodies the beginning. */
  text: string
  /** Bytes that came, and bytes that it could write. */
  received: number
  written: number
  isOpen: boolean
}

const KEPT = 64 * 1024
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const smuggled = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled'
const answer = (headers: string, body = ''): string => `HTTP/1.1 200 OK\r\n${headers}\r\n${body}`
const interim = 'HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n'

/** What is written at once; the connection then stays open. */
export const said: Readonly<Record<string, string>> = {
  '/ok': ok,
  '/hints': `${interim}HTTP/1.1 100 Continue\r\n\r\n${ok}`,
  '/unasked-switch': `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${smuggled}`,
  '/wrong-accept': `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n${smuggled}`,
  '/bare-cr': answer('X-A: b\rX-Smuggled: 1\r\nContent-Length: 2\r\n', 'ok'),
  '/bare-lf': answer('X-A: b\nX-Smuggled: 1\r\nContent-Length: 2\r\n', 'ok'),
  '/folded': answer('X-A: b\r\n X-Smuggled: 1\r\nContent-Length: 2\r\n', 'ok'),
  '/nul': answer('X-A: b\0\r\nContent-Length: 2\r\n', 'ok'),
  '/no-colon': answer('X-Smuggled\r\nContent-Length: 2\r\n', 'ok'),
  '/space-name': answer('Content-Length : 2\r\n', 'ok'),
  '/more-than-length': ok + smuggled,
  '/two-lengths': answer('Content-Length: 2\r\nContent-Length: 44\r\n', `ok${smuggled}`),
  '/length-and-chunks': answer(
    'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n',
    `2\r\nok\r\n0\r\n\r\n${smuggled}`,
  ),
  '/huge-chunk': answer('Transfer-Encoding: chunked\r\n', `FFFFFFFFFFFFFFFFF\r\n${smuggled}`),
  '/negative-chunk': answer('Transfer-Encoding: chunked\r\n', `-2\r\n${smuggled}`),
  '/after-last-chunk': answer('Transfer-Encoding: chunked\r\n', `2\r\nok\r\n0\r\n\r\n${smuggled}`),
  '/trailers': answer(
    'Transfer-Encoding: chunked\r\n',
    '2\r\nok\r\n0\r\nX-Smuggled: 1\r\nSet-Cookie: smuggled=1\r\n\r\n',
  ),
  '/head': `HTTP/1.1 200 OK\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
  '/no-content': `HTTP/1.1 204 No Content\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
  '/not-modified': `HTTP/1.1 304 Not Modified\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
  '/no-status': 'HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok',
  '/low-status': 'HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok',
  '/long-status': 'HTTP/1.1 99999 OK\r\nContent-Length: 2\r\n\r\nok',
  '/odd-reason': 'HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok',
  '/old': 'ok smuggled',
  '/http-2': 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
  '/many-headers': answer(`${'X-A: b\r\n'.repeat(10_000)}Content-Length: 2\r\n`, 'ok'),
  '/names-headers': answer(
    'Connection: X-A\r\nX-A: b\r\nKeep-Alive: timeout=1\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n',
    'ok',
  ),
  '/bomb': answer(
    `Content-Encoding: gzip\r\nContent-Length: ${gzipSync(Buffer.alloc(4 * 1024 * 1024)).length}\r\n`,
    gzipSync(Buffer.alloc(4 * 1024 * 1024)).toString('latin1'),
  ),
}

/** What is written without an end, after a head. */
const endless: Readonly<Record<string, readonly [head: string, again: Buffer]>> = {
  '/hints-without-end': ['', Buffer.from(interim.repeat(500))],
  '/header-without-end': ['HTTP/1.1 200 OK\r\n', Buffer.alloc(64 * 1024, 'X-A: bbbbbbbbb\r\n')],
  '/line-without-end': ['HTTP/1.1 200 OK\r\nX-A: ', Buffer.alloc(64 * 1024, 'a')],
  '/body-without-end': [answer(''), Buffer.alloc(64 * 1024, 'b')],
  '/chunks-without-end': [answer('Transfer-Encoding: chunked\r\n'), Buffer.from('1\r\nb\r\n'.repeat(4_000))],
}

/** What is written before the connection is reset. */
const cut: Readonly<Record<string, string>> = {
  '/cut-at-once': '',
  '/cut-in-head': 'HTTP/1.1 200 OK\r\nX-A',
  '/cut-in-length': answer('Content-Length: 100\r\n', 'begun'),
  '/cut-in-stream': answer('Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n', '9\r\ndata: 1\n\n\r\n'),
  '/cut-in-chunk': answer('Transfer-Encoding: chunked\r\n', '64\r\nbegun'),
  '/cut-without-length': answer('Content-Type: text/event-stream\r\n', 'data: 1\n\n'),
}

export class RogueHost {
  readonly visits: RogueVisit[] = []

  serve(socket: Socket): void {
    const visit: RogueVisit = { text: '', received: 0, written: 0, isOpen: true }
    this.visits.push(visit)
    socket.on('error', () => undefined).on('close', () => (visit.isOpen = false))
    let hasAnswered = false
    socket.on('data', (chunk: Buffer) => {
      visit.received += chunk.length
      if (visit.text.length < KEPT) visit.text += chunk.toString('latin1')
      if (hasAnswered || !visit.text.includes('\r\n\r\n')) return
      hasAnswered = true
      const path = visit.text.split(' ')[1] ?? ''
      // It takes no more than the request's head.
      if (path === '/deaf') socket.pause()
      else answerAs(path, socket, visit)
    })
  }
}

function answerAs(path: string, socket: Socket, visit: RogueVisit): void {
  const write = (bytes: string | Buffer): boolean => {
    visit.written += bytes.length
    return socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }
  const [head, again] = endless[path] ?? []
  const begun = cut[path]
  if (head !== undefined && again !== undefined) {
    write(head)
    const more = (): void => {
      while (!socket.destroyed && write(again));
    }
    socket.on('drain', more)
    more()
  } else if (begun !== undefined) {
    // What was written is on its way before the reset.
    if (begun === '') socket.resetAndDestroy()
    else socket.write(Buffer.from(begun, 'latin1'), () => setImmediate(() => socket.resetAndDestroy()))
  } else write(said[path] ?? ok)
}
