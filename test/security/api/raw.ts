/** Bytes as they stand, for what client libraries would tidy up or refuse to send. */
import { connect, type Socket } from 'node:net'

export interface Heard {
  /** All that was answered. */
  readonly text: string
  /** Of each answer in it. */
  readonly statuses: readonly number[]
  /** The server ended the connection. */
  readonly isClosed: boolean
}

/** Silence is counted in turns of the event loop, which the server shares: where the machine stands still, the count does, too. */
const TURN_MS = 20
/** Until the first byte of an answer, and until the end of a connection that is to be closed. */
const SILENCE = 1_000
/** Behind an answer, for another one that nobody asked for. */
const QUIET = 20

/** Says the words and hears what comes, until the connection is over or, unless they ask for its end, nothing more comes. */
export async function say(port: number, words: string): Promise<Heard> {
  const socket = connect(port, '127.0.0.1')
  socket.write(words)
  return await hear(socket, /^connection: close\r$/im.test(words) ? SILENCE : QUIET)
}

/** Takes the end for granted when so many turns have passed since the last byte. */
async function hear(socket: Socket, turns: number): Promise<Heard> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  let text = ''
  let left = SILENCE
  const turn = setInterval(() => {
    left--
    if (left === 0) resolve(false)
  }, TURN_MS)
  socket.setEncoding('latin1').on('data', (data: string) => {
    text += data
    left = turns
  })
  socket.on('error', () => undefined).once('close', () => resolve(true))
  const isClosed = await promise
  clearInterval(turn)
  socket.destroy()
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
  return { text, statuses, isClosed }
}

/** Sends blocks as fast as they are taken, up to so many bytes, until the server has had enough; answers how many were taken. */
export async function pour(port: number, head: string, bytes: number): Promise<Heard & { readonly poured: number }> {
  const socket = connect(port, '127.0.0.1')
  const block = Buffer.alloc(256 * 1024, 'x')
  const isChunked = /transfer-encoding/i.test(head)
  const framed = isChunked ? Buffer.concat([Buffer.from('40000\r\n'), block, Buffer.from('\r\n')]) : block
  const heard = hear(socket, QUIET)
  let poured = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const more = (): void => {
    while (poured < bytes && socket.writable) {
      poured += block.length
      if (!socket.write(framed)) return
    }
    resolve()
  }
  socket.on('drain', more).once('close', resolve)
  socket.write(head)
  more()
  await promise
  return { ...(await heard), poured }
}

/** A byte at a time, until the server has had enough. */
export async function drip(port: number, head: string, everyMs: number): Promise<Heard> {
  const socket = connect(port, '127.0.0.1')
  socket.write(head)
  const drop = setInterval(() => socket.write('x'), everyMs)
  try {
    return await hear(socket, SILENCE)
  } finally {
    clearInterval(drop)
  }
}
