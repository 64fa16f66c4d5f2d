import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const PATIENCE_MS = 30_000
const MAX_TRIES = 500

/** One connection of a client that says what it likes, one character per byte, and keeps all that it hears. */
export class Talk implements Disposable {
  readonly socket: Socket
  text = ''

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1')))
    socket.on('error', () => undefined)
  }

  static async open(path: string): Promise<Talk> {
    for (let tries = 1; ; tries++) {
      const socket = connect(path)
      try {
        await once(socket, 'connect')
        return new Talk(socket)
      } catch (error) {
        // Where so many wait that TCP would let this one wait too, a unix socket refuses it.
        if (tries === MAX_TRIES || !(error instanceof Error && error.message.includes('EAGAIN'))) throw error
        await delay(10)
      }
    }
  }

  say(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** Resolves with all that was heard when that matches, or when the connection has closed. */
  async until(pattern: RegExp): Promise<string> {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    while (!pattern.test(this.text) && !this.socket.closed) {
      const heard = new AbortController()
      const either = { signal: AbortSignal.any([signal, heard.signal]) }
      const never = (): Promise<undefined> => Promise.resolve(undefined)
      await Promise.race([once(this.socket, 'data', either), once(this.socket, 'close', either)]).catch(never)
      heard.abort()
      if (signal.aborted) throw new Error(`neither ${String(pattern)} nor an end; there was ${this.text.slice(0, 500)}`)
    }
    return this.text
  }

  /** Resolves with all that was heard when the connection has closed. */
  end(): Promise<string> {
    return this.until(/(?!)/)
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}
