import { archiveReply } from '@berth/protocol/archive'
import type { ArchiveReply } from '@berth/protocol/archive'
import type { ChannelJob } from '@berth/protocol/channel'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { WebSocket } from 'ws'
import type { LinkPeer } from './link-peer.ts'

/** The server's end of a channel. */
export class TestChannel {
  readonly socket: WebSocket
  readonly authorization: string | undefined
  readonly texts: string[] = []
  readonly chunks: Buffer[] = []
  /** Resolves with how it was closed. */
  readonly closed: Promise<{ code: number; reason: string }>
  #heard = Promise.withResolvers<void>()

  constructor(socket: WebSocket, authorization: string | undefined) {
    this.socket = socket
    this.authorization = authorization
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.chunks.push(Buffer.from(data))
      else this.texts.push(data.toString())
      this.#heard.resolve()
      this.#heard = Promise.withResolvers()
    })
    this.closed = once(socket, 'close').then(([code, reason]) => ({ code: Number(code), reason: String(reason) }))
  }

  get replies(): ArchiveReply[] {
    return this.texts.map((text) => archiveReply.parse(JSON.parse(text)))
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }

  /** Waits until what has come satisfies. */
  async until(isEnough: () => boolean): Promise<void> {
    while (!isEnough()) await this.#heard.promise
  }

  say(...messages: readonly (object | Uint8Array)[]): void {
    for (const message of messages) this.socket.send(message instanceof Uint8Array ? message : JSON.stringify(message))
  }
}

/** Asks for a channel, and waits until the runner has dialled it. */
export async function dialled(peer: LinkPeer, job: ChannelJob): Promise<TestChannel> {
  const id = `chan_${randomUUID()}`
  const channel = peer.channel(id)
  peer.raw({ type: 'dial', id, job })
  const { socket, authorization } = await channel
  return new TestChannel(socket, authorization)
}
