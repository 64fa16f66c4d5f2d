import type { Socket } from 'node:net'
import type { EgressTraffic } from '@berth/protocol/gateway'

/** Of one session's bytes that are not on record: as soon as there are more, whoever sends waits until they are. */
const MAX_UNSAVED = 4 * 1024 * 1024

interface AccountParts {
  readonly limit: number | undefined
  readonly find: () => Promise<EgressTraffic>
  readonly used: (account: TrafficAccount) => void
  readonly save: () => Promise<void>
}

/** One session's bytes. */
export class TrafficAccount {
  readonly sessionId: string
  readonly #parts: AccountParts
  /** As long as it is not known what was sent before, nothing more may be. */
  #sent = Infinity
  #received = 0
  #unsaved: EgressTraffic = { bytes_sent: 0, bytes_received: 0 }
  #loading: Promise<void> | undefined
  /** With what was counted of their bytes. */
  readonly #connections = new Map<Socket, number>()

  constructor(sessionId: string, parts: AccountParts) {
    this.sessionId = sessionId
    this.#parts = parts
  }

  get limit(): number | undefined {
    return this.#parts.limit
  }

  get isSpent(): boolean {
    return this.#parts.limit !== undefined && this.#sent >= this.#parts.limit
  }

  get isIdle(): boolean {
    return this.#connections.size === 0 && isNothing(this.#unsaved)
  }

  /** Resolves when it is known what the session has sent before. To be waited for before anything is sent. */
  async ready(): Promise<void> {
    this.#loading ??= this.#load()
    try {
      await this.#loading
    } catch (error) {
      this.#loading = undefined
      throw error
    }
  }

  /** How many of these bytes may go out; they count as sent. */
  take(bytes: number): number {
    const granted = Math.max(0, Math.min(bytes, (this.#parts.limit ?? Number.MAX_SAFE_INTEGER) - this.#sent))
    this.#sent += granted
    this.#add({ bytes_sent: granted, bytes_received: 0 })
    return granted
  }

  /** What comes on this connection counts, until it closes. */
  receiveFrom(connection: Socket): void {
    this.#connections.set(connection, connection.bytesRead)
    this.#parts.used(this)
    connection.once('close', () => {
      this.#look(connection)
      this.#connections.delete(connection)
    })
  }

  /** To be waited for after sending, where there is something to wait for. Rejects when nothing can be put on record. */
  overdue(): Promise<void> | undefined {
    return this.#unsaved.bytes_sent >= MAX_UNSAVED ? this.#parts.save() : undefined
  }

  async total(): Promise<EgressTraffic> {
    await this.ready()
    this.#lookAtAll()
    return { bytes_sent: this.#sent, bytes_received: this.#received }
  }

  unsaved(): EgressTraffic {
    this.#lookAtAll()
    return this.#unsaved
  }

  saved({ bytes_sent, bytes_received }: EgressTraffic): void {
    this.#unsaved = {
      bytes_sent: this.#unsaved.bytes_sent - bytes_sent,
      bytes_received: this.#unsaved.bytes_received - bytes_received,
    }
  }

  async #load(): Promise<void> {
    const { bytes_sent, bytes_received } = await this.#parts.find()
    this.#sent = bytes_sent
    this.#received += bytes_received
  }

  #lookAtAll(): void {
    for (const connection of this.#connections.keys()) this.#look(connection)
  }

  #look(connection: Socket): void {
    const bytes = connection.bytesRead
    const more = bytes - (this.#connections.get(connection) ?? bytes)
    if (more <= 0) return
    this.#connections.set(connection, bytes)
    this.#received += more
    this.#add({ bytes_sent: 0, bytes_received: more })
  }

  #add({ bytes_sent, bytes_received }: EgressTraffic): void {
    if (bytes_sent + bytes_received === 0) return
    this.#unsaved = {
      bytes_sent: this.#unsaved.bytes_sent + bytes_sent,
      bytes_received: this.#unsaved.bytes_received + bytes_received,
    }
    this.#parts.used(this)
  }
}

export function isNothing({ bytes_sent, bytes_received }: EgressTraffic): boolean {
  return bytes_sent === 0 && bytes_received === 0
}
