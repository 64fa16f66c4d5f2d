/** A reader of an event stream at the level of its socket: one that can stop reading, which no client library does. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface Seen {
  readonly id: string
  readonly data: string
  /** Milliseconds, by the monotonic clock. */
  readonly at: number
}

interface Target {
  readonly port: number
  readonly key: string
}

export class Reader implements Disposable {
  readonly #socket: Socket
  readonly #seen: Seen[] = []
  readonly #ended: Promise<unknown>
  #text = ''
  #bytes = 0

  /** Resolves when the stream has begun. */
  static async open({ port, key }: Target, path: string, lastEventId?: string): Promise<Reader> {
    const socket = connect(port, '127.0.0.1')
    const resume = lastEventId === undefined ? [] : [`last-event-id: ${lastEventId}`]
    const head = [
      `GET ${path} HTTP/1.1`,
      `host: 127.0.0.1:${port}`,
      `x-api-key: ${key}`,
      'connection: close',
      ...resume,
      '',
      '',
    ]
    socket.write(head.join('\r\n'))
    const [data] = await once(socket, 'data')
    const text = String(data)
    if (!text.startsWith('HTTP/1.1 200')) throw new Error(text.slice(0, 500))
    return new Reader(socket, text.slice(text.indexOf('\r\n\r\n') + 4))
  }

  private constructor(socket: Socket, first: string) {
    this.#socket = socket
    this.#ended = new Promise((resolve) => socket.once('close', resolve))
    this.#take(first)
    socket.on('error', () => undefined).on('data', (data: Buffer) => this.#take(data.toString('latin1')))
  }

  get seen(): readonly Seen[] {
    return this.#seen
  }

  /** Of the answer, as they came over the wire. */
  get bytes(): number {
    return this.#bytes
  }

  stall(): void {
    this.#socket.pause()
  }

  /** Reads whatever there still is; resolves when the connection is over. */
  async readToEnd(): Promise<void> {
    this.#socket.resume()
    await this.#ended
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  /** Chunks of the transfer are as large as frames, so that their sizes stand between lines. */
  #take(text: string): void {
    this.#bytes += text.length
    this.#text += text
    for (let end = this.#text.indexOf('\n\n'); end >= 0; end = this.#text.indexOf('\n\n')) {
      const frame = this.#text.slice(0, end)
      this.#text = this.#text.slice(end + 2)
      const id = /^id: (.*)$/m.exec(frame)?.[1]
      const data = /^data: (.*)$/m.exec(frame)?.[1]
      if (id !== undefined && data !== undefined) this.#seen.push({ id, data, at: performance.now() })
    }
  }
}
