import { fromRunner, LINK_PROTOCOL } from '@berth/protocol/link'
import type { Command, FromRunner, Report } from '@berth/protocol/link'
import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'

interface Conversation {
  /** Every report in order, each once. */
  readonly reports: Report[]
  /** Reports and deltas in the order of their arrival. */
  readonly arrivals: { readonly kind: 'report' | 'delta'; readonly body: Record<string, unknown> }[]
  readonly commands: Command[]
  acknowledgedCommands: number
  committed: number
  duplicates: number
}

/** A connection that the runner has dialled for a channel. */
interface Dialled {
  readonly socket: WebSocket
  readonly authorization: string | undefined
}

/** The server's end of the link, as much of it as the runner can tell apart from a server. */
export class LinkPeer implements AsyncDisposable {
  readonly #path: string
  readonly #conversations = new Map<string, Conversation>()
  readonly #watchers = new Set<() => void>()
  readonly hellos: (FromRunner & { type: 'hello' })[] = []
  readonly faults: string[] = []
  epoch = 1
  /** Which reports are committed when they arrive. The rest wait for `commit`. */
  commits: (report: Report, sessionId: string) => boolean = () => true
  /** Called for whatever arrives, before it is dealt with. */
  onMessage: (message: FromRunner) => void = () => undefined
  readonly #channels = new Map<string, PromiseWithResolvers<Dialled>>()
  #http: Server | undefined
  #socket: WebSocket | undefined
  connections = 0

  constructor(path: string) {
    this.#path = path
  }

  async listen(): Promise<void> {
    const http = createServer()
    const server = new WebSocketServer({ server: http, maxPayload: 64 * 1024 * 1024 })
    server.on('connection', (socket, request) => this.#accept(socket, request))
    await new Promise<void>((resolve) => http.listen(this.#path, resolve))
    this.#http = http
  }

  /** The server goes away, with everything that it had not committed. */
  async stop(): Promise<void> {
    const http = this.#http
    this.#http = undefined
    this.cut()
    if (http === undefined) return
    await new Promise((resolve) => http.close(resolve))
    rmSync(this.#path, { force: true })
  }

  /** Breaks the connection, as a crash would; reports that were not committed are forgotten. */
  cut(): void {
    this.#socket?.terminate()
    this.#socket = undefined
    for (const conversation of this.#conversations.values()) conversation.reports.length = conversation.committed
  }

  close(code: number): void {
    this.#socket?.close(code)
  }

  /** Resolves when the runner dials this channel. */
  channel(id: string): Promise<Dialled> {
    const channel = Promise.withResolvers<Dialled>()
    this.#channels.set(`/channel/${id}`, channel)
    return channel.promise
  }

  raw(message: unknown): void {
    this.#socket?.send(JSON.stringify(message))
  }

  send(sessionId: string, body: Command): void {
    const conversation = this.#conversation(sessionId)
    conversation.commands.push(body)
    this.raw({ type: 'frame', session_id: sessionId, seq: conversation.commands.length, body })
  }

  conversation(sessionId: string): Conversation {
    return this.#conversation(sessionId)
  }

  /** Commits everything that has arrived. */
  commit(sessionId: string): void {
    const conversation = this.#conversation(sessionId)
    conversation.committed = conversation.reports.length
    this.raw({ type: 'ack', session_id: sessionId, seq: conversation.committed })
  }

  /** Resolves with the first defined value of `look`, which is asked again after everything that arrives. */
  until<T>(look: () => T | undefined | false): Promise<T> {
    return new Promise((resolve) => {
      const watcher = () => {
        const value = look()
        if (value === undefined || value === false) return
        this.#watchers.delete(watcher)
        resolve(value)
      }
      this.#watchers.add(watcher)
      watcher()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #accept(socket: WebSocket, { url = '', headers }: IncomingMessage): void {
    socket.on('error', () => undefined)
    const channel = this.#channels.get(url)
    if (channel !== undefined) return channel.resolve({ socket, authorization: headers.authorization })
    this.connections++
    socket.on('message', (data: Buffer) => {
      const message = fromRunner.parse(JSON.parse(data.toString()))
      this.onMessage(message)
      this.#receive(socket, message)
      for (const watcher of this.#watchers) watcher()
    })
  }

  #receive(socket: WebSocket, message: FromRunner): void {
    switch (message.type) {
      case 'hello':
        return this.#welcome(socket, message)
      case 'frame':
        return this.#frame(socket, message)
      case 'delta':
        this.#conversation(message.session_id).arrivals.push({ kind: 'delta', body: message.message })
        return undefined
      case 'ack': {
        const conversation = this.#conversation(message.session_id)
        conversation.acknowledgedCommands = Math.max(conversation.acknowledgedCommands, message.seq)
        return undefined
      }
      case 'ping':
        return socket.send(JSON.stringify({ type: 'pong', n: message.n }))
      case 'pong':
        return undefined
    }
  }

  #welcome(socket: WebSocket, hello: FromRunner & { type: 'hello' }): void {
    this.hellos.push(hello)
    this.#socket = socket
    const sessions = [...this.#conversations].map(([session_id, { committed }]) => ({
      session_id,
      received: committed,
    }))
    socket.send(JSON.stringify({ type: 'welcome', protocol: LINK_PROTOCOL, epoch: this.epoch, sessions }))
    for (const [session_id, { commands }] of this.#conversations) {
      const received = hello.sessions.find((session) => session.session_id === session_id)?.received ?? 0
      for (const [index, body] of commands.entries()) {
        // The last one twice, as a server may that does not know whether it arrived.
        if (index < received - 1) continue
        socket.send(JSON.stringify({ type: 'frame', session_id, seq: index + 1, body }))
      }
    }
  }

  #frame(socket: WebSocket, { session_id, seq, body }: FromRunner & { type: 'frame' }): void {
    if (socket !== this.#socket) return
    const conversation = this.#conversation(session_id)
    if (seq <= conversation.reports.length) {
      conversation.duplicates++
    } else if (seq > conversation.reports.length + 1) {
      this.faults.push(`frame ${seq} of ${session_id} came after ${conversation.reports.length}`)
    } else {
      conversation.reports.push(body)
      conversation.arrivals.push({ kind: 'report', body })
    }
    const waiting = conversation.reports.slice(conversation.committed)
    const held = waiting.findIndex((report) => !this.commits(report, session_id))
    conversation.committed += held < 0 ? waiting.length : held
    socket.send(JSON.stringify({ type: 'ack', session_id, seq: conversation.committed }))
  }

  #conversation(sessionId: string): Conversation {
    let conversation = this.#conversations.get(sessionId)
    if (conversation === undefined) {
      conversation = { reports: [], arrivals: [], commands: [], acknowledgedCommands: 0, committed: 0, duplicates: 0 }
      this.#conversations.set(sessionId, conversation)
    }
    return conversation
  }
}
