import { HEARTBEAT_MS, LINK_PROTOCOL, linkClose } from '@berth/protocol/link-constants'
import { MAX_CHANNEL_MESSAGE } from '@berth/protocol/channel-constants'
import type { Dial } from '@berth/protocol/channel'
import type { Command, FromServer, Report } from '@berth/protocol/link'
import { WebSocket } from 'ws'
import { keepAlive } from './heartbeat.ts'
import { channelUrl, parseLinkAddress, pauseBeforeRedial, redialDelay } from './link-address.ts'
import type { LinkAddress } from './link-address.ts'
import type { UnreadableFrame } from './link-messages.ts'
import { Outbox } from './outbox.ts'

/** Above this many bytes in the socket's own buffer deltas are dropped. */
const DELTA_BUFFER_BYTES = 1024 * 1024
/** Largest message taken from the server: a 32 MiB input and its wrapping. */
const MAX_PAYLOAD = 40 * 1024 * 1024
/** How long a closing handshake may take. */
const HANG_UP_MS = 500

const finalCodes: ReadonlySet<number> = new Set([
  linkClose.protocol_mismatch,
  linkClose.bad_hello,
  linkClose.unknown_sandbox,
])

export interface LinkClientOptions {
  /** `unix:/path` or `ws(s)://…` */
  readonly link: string
  readonly sandboxId: string
  readonly nonce: string
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
  readonly log: (line: string) => void
  /** Called once, when the first hello is on its way: the time for slow loading. Nothing is received until it resolves. */
  readonly onHello: () => Promise<LinkReceiver>
}

/** Where what the server sends goes. */
export interface LinkReceiver {
  /** Understands a message. Throws when it is nothing of the link. */
  readonly read: (text: string) => FromServer | UnreadableFrame
  /** Called once per command, in order. Must not throw; the command is acknowledged when it returns. */
  handle(sessionId: string, command: Command): void
  /** The server asks for a channel. Must not throw. */
  dial(dial: Dial): void
}

interface Peer {
  readonly outbox: Outbox
  /** Highest command number handled. */
  received: number
}

/** One attempt to be connected. */
interface Connection {
  readonly socket: WebSocket
  readonly ended: PromiseWithResolvers<{ readonly final: number | undefined }>
  welcomed: boolean
}

/**
 * The runner's side of the link: dials for ever, sends reports once and in order whatever happens to the connection, hands over each
 * command once. Ends only by the signal or by a final close code.
 */
export class LinkClient {
  readonly #options: LinkClientOptions
  readonly #address: LinkAddress
  readonly #peers = new Map<string, Peer>()
  #current: Connection | undefined
  /** Sessions of whose present answer a part was dropped. */
  readonly #cut = new Set<string>()
  #epoch = 0
  /** Asked for at the first hello. */
  #receiver: Promise<LinkReceiver> | undefined

  constructor(options: LinkClientOptions) {
    this.#options = options
    this.#address = parseLinkAddress(options.link)
  }

  outbox(sessionId: string): Outbox {
    return this.#peer(sessionId).outbox
  }

  /** The session has left the sandbox: nothing of it is told any more. */
  forget(sessionId: string): void {
    this.#peers.delete(sessionId)
    this.#cut.delete(sessionId)
  }

  /** Numbers and sends a report; it is kept until the server has committed it. Answers its number. */
  report(sessionId: string, body: Report): number {
    const frame = this.outbox(sessionId).add(body)
    if (this.#current?.welcomed === true) this.#current.socket.send(frame.text)
    return frame.seq
  }

  /**
   * Sends a partial message, or drops it when nobody listens or the listener is slow. After one was dropped the rest of that answer is
   * dropped, too: whoever adds up the parts must not be left with a gap.
   */
  delta(sessionId: string, message: Record<string, unknown>): void {
    const socket = this.#current?.welcomed === true ? this.#current.socket : undefined
    if (socket === undefined || socket.bufferedAmount > DELTA_BUFFER_BYTES) {
      this.#cut.add(sessionId)
      return
    }
    if (beginsAnswer(message)) this.#cut.delete(sessionId)
    if (this.#cut.has(sessionId)) return
    socket.send(JSON.stringify({ type: 'delta', session_id: sessionId, message }))
  }

  /** Dials for a channel, once. */
  openChannel(id: string): WebSocket {
    return new WebSocket(channelUrl(this.#address, id), {
      headers: { authorization: `Bearer ${this.#options.nonce}` },
      perMessageDeflate: false,
      maxPayload: MAX_CHANNEL_MESSAGE,
      // All zeros, which masks nothing: masking is there for browsers, and would cost a copy of every byte.
      generateMask: (mask) => void mask.fill(0),
      handshakeTimeout: 3 * HEARTBEAT_MS,
    })
  }

  /** Keeps the link up. Resolves with the final close code, or undefined when the signal ended it. Rejects when `onHello` fails. */
  async run(signal: AbortSignal): Promise<number | undefined> {
    for (let failures = 0; !signal.aborted; failures++) {
      const connection = this.#dial()
      const end = () => hangUp(connection, linkClose.going_away, undefined)
      signal.addEventListener('abort', end, { once: true })
      const { final } = await connection.ended.promise
      signal.removeEventListener('abort', end)
      this.#current = undefined
      if (final !== undefined) return final
      if (connection.welcomed) failures = 0
      if (!signal.aborted) await pauseBeforeRedial(this.#address, redialDelay(failures), signal)
    }
    return undefined
  }

  #dial(): Connection {
    const socket = new WebSocket(this.#address.url, {
      perMessageDeflate: false,
      maxPayload: MAX_PAYLOAD,
      handshakeTimeout: 3 * HEARTBEAT_MS,
    })
    const connection: Connection = { socket, ended: Promise.withResolvers(), welcomed: false }
    this.#current = connection
    // Before the server is up this happens at every dial: not worth a line.
    socket.on('error', () => undefined)
    socket.on('close', (code) => connection.ended.resolve({ final: finalCodes.has(code) ? code : undefined }))
    socket.on('open', () => void this.#greet(connection).catch(connection.ended.reject))
    return connection
  }

  async #greet(connection: Connection): Promise<void> {
    const { socket } = connection
    const sessions = [...this.#peers].map(([session_id, { received }]) => ({ session_id, received }))
    const { sandboxId: sandbox_id, nonce } = this.#options
    socket.send(
      JSON.stringify({ type: 'hello', protocol: LINK_PROTOCOL, sandbox_id, nonce, epoch: this.#epoch, sessions }),
    )
    socket.pause()
    const receiver = await (this.#receiver ??= this.#options.onHello())
    keepAlive(socket, this.#options.now)
    socket.on('message', (data: Buffer) => {
      try {
        this.#receive(connection, receiver, receiver.read(data.toString()))
      } catch (error) {
        this.#options.log(`link: a message that cannot be read: ${String(error)}`)
        hangUp(connection, 1008, undefined)
      }
    })
    socket.resume()
  }

  #receive(connection: Connection, receiver: LinkReceiver, message: FromServer | UnreadableFrame): void {
    if (message.type === 'welcome') return this.#welcome(connection, message)
    if (!connection.welcomed) throw new Error(`a ${message.type} before the welcome`)
    switch (message.type) {
      case 'frame':
        return this.#command(connection, message, () => receiver.handle(message.session_id, message.body))
      case 'unreadable':
        return this.#command(connection, message, () =>
          this.report(message.session_id, { type: 'refused', command: message.command, detail: message.detail }),
        )
      case 'dial':
        return receiver.dial(message)
      case 'ack':
        return this.outbox(message.session_id).acknowledge(message.seq)
      case 'ping':
        return connection.socket.send(JSON.stringify({ type: 'pong', n: message.n }))
      case 'pong':
        return undefined
    }
  }

  #welcome(connection: Connection, welcome: FromServer & { type: 'welcome' }): void {
    if (welcome.protocol !== LINK_PROTOCOL) {
      return hangUp(connection, linkClose.protocol_mismatch, linkClose.protocol_mismatch)
    }
    if (welcome.epoch < this.#epoch) {
      // A server that has lost its lease without knowing it: the one that has the lease answers sooner or later.
      this.#options.log(`link: refused epoch ${welcome.epoch}, the last was ${this.#epoch}`)
      return hangUp(connection, linkClose.stale_epoch, undefined)
    }
    this.#epoch = welcome.epoch
    for (const { session_id, received } of welcome.sessions) this.outbox(session_id).acknowledge(received)
    connection.welcomed = true
    for (const { outbox } of this.#peers.values()) {
      for (const text of outbox.unacknowledged()) connection.socket.send(text)
    }
  }

  #command(connection: Connection, frame: { session_id: string; seq: number }, handle: () => void): void {
    const peer = this.#peer(frame.session_id)
    if (frame.seq > peer.received + 1) throw new Error(`command ${frame.seq} came after ${peer.received}`)
    if (frame.seq === peer.received + 1) {
      peer.received = frame.seq
      handle()
    }
    connection.socket.send(JSON.stringify({ type: 'ack', session_id: frame.session_id, seq: peer.received }))
  }

  #peer(sessionId: string): Peer {
    let peer = this.#peers.get(sessionId)
    if (peer === undefined) {
      peer = { outbox: new Outbox(sessionId), received: 0 }
      this.#peers.set(sessionId, peer)
    }
    return peer
  }
}

function beginsAnswer({ event, parent_tool_use_id }: Record<string, unknown>): boolean {
  if (parent_tool_use_id !== null && parent_tool_use_id !== undefined) return false
  return typeof event === 'object' && event !== null && 'type' in event && event.type === 'message_start'
}

/** Closes from this side. What the other side answers to it no longer matters. */
function hangUp({ socket, ended }: Connection, code: number, final: number | undefined): void {
  ended.resolve({ final })
  socket.close(code)
  setTimeout(() => socket.terminate(), HANG_UP_MS).unref()
}
