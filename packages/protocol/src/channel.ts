/**
 * Channels: streams between the server and a program in a sandbox, beside the link, for what is too large for its frames.
 *
 * The server asks for one with a `dial` on the link. The runner answers it by a second WebSocket to the link's address, path
 * `/channel/<id>`, header `authorization: Bearer <nonce>`, and does the job on it. A `dial` is not numbered and never replayed: where no
 * channel comes in time, or one breaks, the job has not been done and the server asks anew, under another id. Text messages are JSON,
 * binary messages are data; both sides stop reading while they cannot pass on. When the job is over, the runner closes the channel
 * (`channelClose`); when the server closes it before, the job is ended.
 */
import { z } from 'zod'
import { ownDirs } from './own-dirs.ts'

export { channelClose, channelPath, MAX_CHANNEL_MESSAGE } from './channel-constants.ts'

/** Whose files a job is about: the helper that does it runs under this uid and reaches no more than that. */
const owner = z.object({ session_id: z.string(), uid: z.int().min(1) })

/** What the runner is to do on the channel. */
export const channelJob = z.discriminatedUnion('type', [
  /**
   * Speak `archive.ts`, as the helper that saves and restores files: one request, and what belongs to it. `freeze`: the session's processes stand still
   * from the first to the last message.
   */
  z.object({ type: z.literal('archive'), ...owner.shape, own_dirs: ownDirs, freeze: z.boolean() }),
  /** Say how many processes the session has besides its CLI: one `processCount`, then close. */
  z.object({ type: z.literal('count_processes'), ...owner.shape }),
  /**
   * End what the session has running, remove its directories and what it has in `/tmp`, forget it. Closed with `done` when nothing of it is left;
   * of a session that is not there, too.
   */
  z.object({ type: z.literal('remove'), ...owner.shape, own_dirs: ownDirs }),
  /** Be one TCP connection to this port on the sandbox's loopback: binary messages both ways, closed when either end is. */
  z.object({ type: z.literal('port'), port: z.int().min(1).max(65_535) }),
])
export type ChannelJob = z.infer<typeof channelJob>

export const processCount = z.object({ count: z.int().nonnegative() })

/** Server → runner, on the link. */
export const dial = z.object({ type: z.literal('dial'), id: z.string(), job: channelJob })
export type Dial = z.infer<typeof dial>
