/** Plays the runner of every sandbox of `Directories`: it dials, and says of each CLI that it is to start that it has started. */
import { once } from 'node:events'
import { fromServer, LINK_PROTOCOL, type FromServer, type Report } from '@berth/protocol'
import type { SandboxRef } from '@berth/sandbox'
import { WebSocket } from 'ws'
import type { Store } from '../src/store/store.ts'
import { type Directories, linkOf } from './directories.ts'

const LOOK_EVERY_MS = 10

interface Played {
  readonly socket: WebSocket
  readonly heard: FromServer[]
  reports: number
}

export class PlayedRunners implements AsyncDisposable {
  readonly #driver: Directories
  readonly #store: Store
  readonly #played = new Map<string, Played>()
  readonly #dialled = new Set<string>()
  readonly #timer: NodeJS.Timeout
  /** What a CLI that is to start does instead. */
  onOpen: Report = { type: 'started', pid: 1, cli_version: '1' }

  constructor(driver: Directories, store: Store) {
    this.#driver = driver
    this.#store = store
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS)
  }

  /** Frames and acknowledgements that the sandbox's runner was sent, in order. */
  heardIn(sandboxId: string): FromServer[] {
    return this.#played.get(sandboxId)?.heard ?? []
  }

  report(sandboxId: string, session_id: string, body: Report): void {
    const played = this.#played.get(sandboxId)
    if (played === undefined) throw new Error(`${sandboxId} has no runner`)
    played.socket.send(JSON.stringify({ type: 'frame', session_id, seq: ++played.reports, body }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#played.values()].map(({ socket }) => end(socket)))
  }

  #look(): void {
    for (const ref of this.#driver.refs.values()) {
      if (this.#dialled.has(ref.id)) continue
      this.#dialled.add(ref.id)
      // The server may not listen yet.
      this.#dial(ref).catch(() => this.#dialled.delete(ref.id))
    }
  }

  async #dial(ref: SandboxRef): Promise<void> {
    const socket = new WebSocket(`ws+unix:${linkOf(ref.runDir ?? '')}:/`)
    await once(socket, 'open')
    const played: Played = { socket, heard: [], reports: 0 }
    this.#played.set(ref.id, played)
    socket.on('message', (data: Buffer) => this.#hear(ref.id, fromServer.parse(JSON.parse(data.toString('utf8')))))
    const nonce = (await this.#store.findSandbox({ sandboxId: ref.id }))?.nonce
    const hello = { type: 'hello', protocol: LINK_PROTOCOL, sandbox_id: ref.id, nonce, epoch: 0, sessions: [] }
    socket.send(JSON.stringify(hello))
  }

  #hear(sandboxId: string, message: FromServer): void {
    this.#played.get(sandboxId)?.heard.push(message)
    if (message.type !== 'frame') return
    this.#played
      .get(sandboxId)
      ?.socket.send(JSON.stringify({ type: 'ack', session_id: message.session_id, seq: message.seq }))
    if (message.body.type === 'open') this.report(sandboxId, message.session_id, this.onOpen)
  }
}

async function end(socket: WebSocket): Promise<void> {
  if (socket.readyState === socket.CLOSED) return
  const closed = once(socket, 'close')
  socket.terminate()
  await closed
}
