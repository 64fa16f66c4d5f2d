import type { Readable } from 'node:stream'

/**
 * Gives every piece of a body to `take` as it comes, without a copy or a wait between two of them. A promise that `take` returns holds up
 * the next piece, and with it whoever sends. Resolves when the body has ended and all of it is taken; when the body or `take` fails,
 * rejects and destroys the body.
 */
export function eachPiece(body: Readable, take: (piece: Buffer) => Promise<void> | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  /** The last piece may have to wait when the end has already come. */
  let taken: Promise<void> | undefined
  const fail = (error: unknown): void => {
    body.off('data', give)
    body.destroy()
    reject(error)
  }
  const give = (piece: Buffer): void => {
    try {
      taken = take(piece)
      if (taken === undefined) return
      body.pause()
      taken.then(() => body.resume(), fail)
    } catch (error) {
      fail(error)
    }
  }
  body.on('error', fail)
  body.on('close', () => {
    if (!body.readableEnded) fail(new Error('the body has no end'))
  })
  body.on('end', () => resolve(taken))
  body.on('data', give)
  return promise
}
