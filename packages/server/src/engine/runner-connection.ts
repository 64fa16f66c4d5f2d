/**
 * One runner's connection: handshake, numbered commands, acknowledgements, heartbeats. What arrives goes to `peer` in order. The
 * connection holds nothing that would be missed when it breaks: commands are in the outbox, reports stay with the runner until acknowledged.
 */
import type { WebSocket } from 'ws'
import {
  type Command,
  fromRunner,
  type FromRunner,
  type FromServer,
  HEARTBEAT_MS,
  LINK_PROTOCOL,
  linkClose,
} from '@berth/protocol'
import type { Dial } from '@berth/protocol/channel'
import type { Logger } from 'pino'
import type { LinkProgress } from '../store/sandboxes.ts'

export type RunnerItem = Extract<FromRunner, { type: 'frame' | 'delta' }>

/** What a connection needs of the one who holds the sandbox. */
export interface RunnerPeer {
  readonly sandboxId: string
  readonly nonce: string
  readonly logger: Logger
  /** Of the lease under which the server acts now. */
  epoch(): Promise<number>
  /** Committed progress of every session in the sandbox, with the commands not yet acknowledged. */
  progress(): Promise<LinkProgress[]>
  /** Answers false when the receiver is full: the connection stops reading until `resume`. */
  receive(item: RunnerItem): boolean
  acknowledged(sessionId: string, seq: number): void
  /** The runner speaks another protocol: it has been told so, and ends. */
  mismatched(protocol: number): void
  /** The runner has met a server with a later lease. */
  superseded(): void
  /** The handshake is over. */
  welcomed(): void
  /** Stream events of this sandbox's sessions may have been lost from here on. */
  closed(connection: RunnerConnection): void
}

type Hello = Extract<FromRunner, { type: 'hello' }>

export class RunnerConnection {
  readonly #socket: WebSocket
  readonly #peer: RunnerPeer
  /** Number of the last command sent, by session; undefined before the handshake is over. */
  #sent: Map<string, number> | undefined
  #isBehind = false
  #isClosing = false
  #silentBeats = 0
  readonly #heartbeat: NodeJS.Timeout

  constructor(socket: WebSocket, peer: RunnerPeer) {
    this.#socket = socket
    this.#peer = peer
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS)
    socket.on('message', (data: Buffer) => this.#read(data))
    socket.on('error', (error) => peer.logger.debug({ err: error }, 'runner connection failed'))
    socket.on('close', (code) => {
      clearInterval(this.#heartbeat)
      if (code === linkClose.stale_epoch) peer.superseded()
      peer.closed(this)
    })
  }

  /** What arrives from here on is passed over, and comes again on the next connection: the frames before it may not have been taken. */
  close(code: keyof typeof linkClose): void {
    this.#isClosing = true
    this.#socket.close(linkClose[code], code)
    // A runner that hangs does not answer the close frame.
    setTimeout(() => this.#socket.terminate(), 1_000).unref()
  }

  resume(): void {
    this.#socket.resume()
  }

  acknowledge(sessionId: string, seq: number): void {
    this.#send({ type: 'ack', session_id: sessionId, seq })
  }

  /** Has the runner open a channel. Nothing, before the handshake is over. */
  dial(message: Dial): void {
    if (this.#sent !== undefined) this.#send(message)
  }

  /** Sends a committed command; where it is not the next one, the outbox is sent from where the runner stands. */
  command(sessionId: string, seq: number, body: Command): void {
    const last = this.#sent?.get(sessionId)
    if (last === undefined || seq > last + 1) {
      this.#isBehind = true
      if (this.#sent !== undefined) this.#orClose(this.#catchUp())
    } else if (seq === last + 1) {
      this.#sent?.set(sessionId, seq)
      this.#send({ type: 'frame', session_id: sessionId, seq, body })
    }
  }

  #read(data: Buffer): void {
    if (this.#isClosing) return
    this.#silentBeats = 0
    const message = parseMessage(data)
    if (message === undefined) return this.close('bad_hello')
    if (message.type === 'hello') return this.#orClose(this.#welcome(message))
    if (this.#sent === undefined) return this.close('bad_hello')
    switch (message.type) {
      case 'frame':
      case 'delta':
        if (!this.#peer.receive(message)) this.#socket.pause()
        return
      case 'ack':
        return this.#peer.acknowledged(message.session_id, message.seq)
      case 'ping':
        return this.#send({ type: 'pong', n: message.n })
      case 'pong':
        return
      default:
        message satisfies never
    }
  }

  async #welcome(hello: Hello): Promise<void> {
    const epoch = await this.#peer.epoch()
    const refusal = refuse(hello, this.#peer, epoch)
    if (refusal !== undefined) {
      this.#peer.logger.warn({ refusal, protocol: hello.protocol }, 'runner refused')
      this.close(refusal)
      if (refusal === 'stale_epoch') this.#peer.superseded()
      if (refusal === 'protocol_mismatch') this.#peer.mismatched(hello.protocol)
      return
    }
    const progress = await this.#peer.progress()
    if (this.#isClosing) return
    const sessions = progress.map(({ sessionId, received }) => ({ session_id: sessionId, received }))
    this.#send({ type: 'welcome', protocol: LINK_PROTOCOL, epoch, sessions })
    const received = new Map(hello.sessions.map((session) => [session.session_id, session.received]))
    this.#sent = received
    this.#peer.logger.debug('runner connected')
    this.#peer.welcomed()
    for (const [sessionId, seq] of received) this.#peer.acknowledged(sessionId, seq)
    this.#sendFrom(progress)
    if (this.#isBehind) await this.#catchUp()
  }

  /** Where the store cannot be read now, the runner comes back later. */
  #orClose(task: Promise<void>): void {
    task.catch((error: unknown) => {
      this.#peer.logger.error({ err: error }, 'runner connection given up')
      this.close('going_away')
    })
  }

  async #catchUp(): Promise<void> {
    this.#isBehind = false
    this.#sendFrom(await this.#peer.progress())
  }

  #sendFrom(progress: readonly LinkProgress[]): void {
    for (const { sessionId, commands } of progress) {
      for (const { seq, body } of commands) {
        if (seq <= (this.#sent?.get(sessionId) ?? 0)) continue
        this.#sent?.set(sessionId, seq)
        this.#send({ type: 'frame', session_id: sessionId, seq, body })
      }
    }
  }

  #send(message: FromServer): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(message))
  }

  #beat(): void {
    this.#silentBeats += 1
    if (this.#silentBeats > 3) this.#socket.terminate()
    else this.#send({ type: 'ping', n: this.#silentBeats })
  }
}

function parseMessage(data: Buffer): FromRunner | undefined {
  try {
    return fromRunner.parse(JSON.parse(data.toString('utf8')))
  } catch {
    return undefined
  }
}

function refuse(hello: Hello, peer: RunnerPeer, epoch: number): keyof typeof linkClose | undefined {
  if (hello.protocol !== LINK_PROTOCOL) return 'protocol_mismatch'
  if (hello.sandbox_id !== peer.sandboxId || hello.nonce !== peer.nonce) return 'unknown_sandbox'
  return hello.epoch > epoch ? 'stale_epoch' : undefined
}
