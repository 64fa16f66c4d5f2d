import { channelClose } from '@berth/protocol/channel-constants'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { ChannelFailure } from './channel-socket.ts'
import type { ChannelSocket } from './channel-socket.ts'

/** How long what the server sent may take to get through after it has closed. */
const LAST_WORDS_MS = 5_000
const LOOPBACK = ['127.0.0.1', '::1'] as const

/** Is one TCP connection to a port of the sandbox, until either end closes. */
export async function runPort(port: number, channel: ChannelSocket): Promise<void> {
  const socket = await connectTo(port, channel.gone)
  const cut = (): void => {
    socket.destroySoon()
    setTimeout(() => socket.destroy(), LAST_WORDS_MS).unref()
  }
  channel.gone.addEventListener('abort', cut, { once: true })
  try {
    channel.throttle(socket)
    socket.on('data', (bytes: Buffer) => channel.send(bytes, true))
    channel.receive(socket, (body, isBinary) => !isBinary || socket.write(body))
    await once(socket, 'close')
  } catch (error) {
    throw new ChannelFailure(channelClose.job_failed, `port ${port}: ${reasonOf(error)}`)
  } finally {
    channel.gone.removeEventListener('abort', cut)
    socket.destroy()
  }
}

async function connectTo(port: number, signal: AbortSignal): Promise<Socket> {
  let refusal = ''
  for (const host of LOOPBACK) {
    const socket = connect({ host, port, noDelay: true })
    try {
      await once(socket, 'connect', { signal })
      return socket
    } catch (error) {
      socket.destroy()
      refusal ||= reasonOf(error)
    }
  }
  throw new ChannelFailure(channelClose.cannot_connect, `port ${port}: ${refusal}`)
}

function reasonOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
