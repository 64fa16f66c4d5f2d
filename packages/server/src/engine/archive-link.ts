/** The archive helper of a session, reached through its sandbox's runner. Every message is checked here, where foreign data comes in. */
import { type ArchiveReply, archiveReply, type ArchiveRequest } from '@berth/protocol/archive'
import { BerthError } from '@berth/protocol'
import type { ArchiveChannel } from '../blobs/archive-channel.ts'
import type { Channel } from './channel.ts'

export function archiveLink(channel: Channel): ArchiveChannel {
  return {
    send: (message: ArchiveRequest | Uint8Array) =>
      channel.send(message instanceof Uint8Array ? message : JSON.stringify(message)),
    read: async (signal) => {
      const message = await channel.read(signal)
      return typeof message === 'string' ? parseReply(message) : message
    },
    [Symbol.asyncDispose]: () => channel[Symbol.asyncDispose](),
  }
}

function parseReply(text: string): ArchiveReply {
  try {
    return archiveReply.parse(JSON.parse(text))
  } catch (cause) {
    throw new BerthError('unavailable', 'the sandbox does not speak as it should about its files', { cause })
  }
}
