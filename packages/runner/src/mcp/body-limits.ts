import { RemoteFailure } from './remote-failure.ts'

/** Largest message of a server. */
export const MAX_MESSAGE = 8 * 1024 * 1024
/** Largest stream of messages: what goes on longer is cut. */
const MAX_STREAM = 64 * 1024 * 1024
/** What is read of an answer that is an error. */
const MAX_ERROR = 64 * 1024

const LF = 0x0a
const CR = 0x0d

/** Passes bytes on as long as they are a message of bearable size. */
export function oneMessage(): TransformStream<Uint8Array, Uint8Array> {
  return limited(MAX_MESSAGE, () => new RemoteFailure('connection', `sent a message of more than ${MAX_MESSAGE} bytes`))
}

/** Ends after as much of an error as anybody reads. */
export function errorText(): TransformStream<Uint8Array, Uint8Array> {
  return limited(MAX_ERROR, () => undefined)
}

function limited(max: number, excess: () => Error | undefined): TransformStream<Uint8Array, Uint8Array> {
  let total = 0
  return new TransformStream({
    transform: (chunk, controller) => {
      total += chunk.length
      if (total <= max) return controller.enqueue(chunk)
      const failure = excess()
      if (failure === undefined) controller.terminate()
      else controller.error(failure)
    },
  })
}

/** Passes on a stream of events, each of bearable size, all together too. */
export function events(): TransformStream<Uint8Array, Uint8Array> {
  let total = 0
  /** Bytes since the last blank line, which ends an event. */
  let size = 0
  let isBlank = true
  return new TransformStream({
    transform: (chunk, controller) => {
      total += chunk.length
      for (const byte of chunk) {
        size += 1
        if (byte === LF) {
          if (isBlank) size = 0
          isBlank = true
        } else if (byte !== CR) isBlank = false
      }
      if (size <= MAX_MESSAGE && total <= MAX_STREAM) return controller.enqueue(chunk)
      controller.error(new RemoteFailure('connection', 'sent more than is taken of one answer'))
    },
  })
}
