/** A server-sent event stream as it is on the wire: every line, comments and ids too. */
export interface Frame {
  readonly event?: string
  readonly id?: string
  readonly data?: string
  readonly comment?: string
}

/** Frames as they come, until the server ends the stream or the reader leaves. Times out with the response's signal. */
export async function* readFrames(response: Response): AsyncGenerator<Frame> {
  if (response.body === null) return
  let text = ''
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      yield toFrame(text.slice(0, end))
      text = text.slice(end + 2)
    }
  }
  if (text !== '') throw new Error(`the stream ended inside of a frame: ${text}`)
}

/** Reads until a frame matches; that one is the last. */
export async function framesUntil(response: Response, isLast: (frame: Frame) => boolean): Promise<Frame[]> {
  const frames: Frame[] = []
  for await (const frame of readFrames(response)) {
    frames.push(frame)
    if (isLast(frame)) return frames
  }
  throw new Error(`the stream ended; it had ${frames.map(({ event }) => event ?? 'a comment').join(', ')}`)
}

function toFrame(block: string): Frame {
  const fields = block.split('\n').map((line) => {
    const colon = line.indexOf(':')
    const name = colon === 0 ? 'comment' : line.slice(0, colon)
    if (!['comment', 'event', 'id', 'data'].includes(name)) throw new Error(`not a line of an event stream: ${line}`)
    return [name, line.slice(colon + 1).replace(/^ /, '')]
  })
  return Object.fromEntries(fields)
}
