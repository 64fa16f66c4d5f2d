/** Server-sent events: one writer for every stream of the API. */

export interface ServerSentEvent {
  readonly event: string
  readonly id?: string
  /** Serialised as JSON. */
  readonly data: unknown
}

const COMMENT_EVERY_MS = 15_000
const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no',
}

/**
 * Answers with the events as they come; ends with them, and disposes `attachment`, which feeds them, however it ends: a reader may go away
 * while nothing happens, or never read at all. Nothing is read ahead: what the reader does not take stays with the source, whose queue is
 * bounded.
 */
export function eventStream(source: AsyncIterable<ServerSentEvent>, attachment: Disposable): Response {
  const iterator = source[Symbol.asyncIterator]()
  const encoder = new TextEncoder()
  let next: Promise<IteratorResult<ServerSentEvent>> | undefined
  const body = new ReadableStream<Uint8Array>(
    {
      // Headers go out with the first byte: a reader knows at once that it is attached.
      start: (controller) => controller.enqueue(encoder.encode(': attached\n\n')),
      pull: async (controller) => {
        next ??= iterator.next()
        const result = await withTimeout(next, COMMENT_EVERY_MS)
        if (result === undefined) {
          controller.enqueue(encoder.encode(': \n\n'))
          return
        }
        next = undefined
        if (result.done === true) {
          attachment[Symbol.dispose]()
          controller.close()
        } else controller.enqueue(encoder.encode(format(result.value)))
      },
      cancel: async () => {
        // First of all: it ends the wait that the iterator may be in.
        attachment[Symbol.dispose]()
        await iterator.return?.()
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(body, { headers: HEADERS })
}

function format({ event, id, data }: ServerSentEvent): string {
  const head = id === undefined ? `event: ${event}\n` : `event: ${event}\nid: ${id}\n`
  return `${head}data: ${JSON.stringify(data)}\n\n`
}

/** undefined when nothing has come in time; the promise can be waited for again. */
async function withTimeout<Value>(promise: Promise<Value>, ms: number): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
  }
}
