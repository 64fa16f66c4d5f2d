/** The channel's numbers and names, apart from its schemas: see `link-constants.ts`. */

/** Largest message on a channel, bytes. */
export const MAX_CHANNEL_MESSAGE = 4 * 1024 * 1024

/** Path of a channel below the link's address. */
export function channelPath(id: string): string {
  return `/channel/${id}`
}

/**
 * WebSocket close codes with which the runner ends a channel; the reason says more. `done`: the job is over, whatever its last message says of how it
 * went, or the port's connection has ended. Any other code, one of the WebSocket's own included: the job has not been done.
 */
export const channelClose = {
  done: 1000,
  /** Nothing listens on the port. */
  cannot_connect: 4010,
  /** The helper could not be started or ended early, or the connection to the port broke. */
  job_failed: 4011,
  /** Too many channels at once, or another one has the session frozen. May be asked for again. */
  busy: 4012,
} as const
