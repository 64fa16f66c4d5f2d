import type { Socket } from 'node:net'
import type { EgressRefusal } from './refusal.ts'
import type { TrafficAccount } from './traffic-account.ts'

/** On whose account a connection's bytes go. */
export interface Meter {
  readonly account: TrafficAccount
  /** Puts on record that the session may send no more, and says so. */
  readonly refusal: () => Promise<EgressRefusal>
}

interface Piece {
  readonly chunk: unknown
  readonly encoding: BufferEncoding
}

type Done = (error?: Error | null) => void

/**
 * Counts what is written to the connection and what comes from it. What the account allows goes out, to the byte; then the connection
 * is destroyed, with the refusal as its error. For a connection that nobody has written to.
 */
export function metered<S extends Socket>(socket: S, { account, refusal }: Meter): S {
  const write = socket._write.bind(socket)
  const writeAll = socket._writev?.bind(socket)
  if (writeAll === undefined) throw new TypeError('a connection takes several pieces at once')
  account.receiveFrom(socket)
  const send = (pieces: readonly Piece[], whole: (done: Done) => void, done: Done): void => {
    const bytes = pieces.reduce((sum, piece) => sum + bytesOf(piece).length, 0)
    const granted = account.take(bytes)
    if (granted === bytes) return whole((error) => (error ? done(error) : void settle(account, done)))
    const refuse = async (): Promise<void> => done(await refusal())
    if (granted === 0) return void refuse()
    const rest = Buffer.concat(pieces.map(bytesOf)).subarray(0, granted)
    writeAll([{ chunk: rest, encoding: 'latin1' }], () => void refuse())
  }
  socket._write = (chunk: unknown, encoding, done) =>
    send([{ chunk, encoding }], (then) => write(chunk, encoding, then), done)
  socket._writev = (pieces, done) => send(pieces, (then) => writeAll(pieces, then), done)
  return socket
}

async function settle(account: TrafficAccount, done: Done): Promise<void> {
  const overdue = account.overdue()
  // At once, where there is nothing to wait for.
  if (overdue === undefined) return done()
  let failure: Error | undefined
  try {
    await overdue
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error))
  }
  done(failure)
}

function bytesOf({ chunk, encoding }: Piece): Buffer {
  if (typeof chunk === 'string') return Buffer.from(chunk, encoding)
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw new TypeError('a connection takes bytes and texts alone')
}
