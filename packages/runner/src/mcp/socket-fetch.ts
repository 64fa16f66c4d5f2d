import { request } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { z } from 'zod'
import { errorText, events, oneMessage } from './body-limits.ts'
import { RemoteFailure } from './remote-failure.ts'

/** How often the stream of what a server says by itself is opened within some time. One that ends more often is given up. */
const MAX_LISTENS = 30
const LISTENS_MS = 600_000
/** After the end of a stream, how long its last message may still be on its way to us. */
const UNREAD_MS = 1_000

/** How the gateway says that an answer is its own, and of which kind. */
const ERROR_HEADER = 'x-berth-mcp-error'
const ownError = z.object({ error: z.object({ message: z.string() }) })

/** The little that is to be known of what goes out. */
const outgoing = z.object({
  id: z.union([z.string(), z.number()]).optional(),
  method: z.string().optional(),
  params: z.object({ requestId: z.union([z.string(), z.number()]).optional() }).optional(),
})
type RequestId = string | number

type FetchInit = Pick<RequestInit, 'method' | 'headers' | 'body' | 'signal'>

/**
 * `fetch` for one connection to a server, over the gateway's socket. What the server sends is bounded, and a request that is cancelled gives up
 * its answer.
 */
export class SocketFetch implements Disposable {
  readonly #socketPath: string
  /** Told of each request whose stream of answers has ended; its answer may have come. */
  readonly #ended: (id: RequestId) => void
  readonly #open = new Map<RequestId, ClientRequest>()
  readonly #closing = new AbortController()
  /** When it was. */
  #listens: readonly number[] = []

  constructor(socketPath: string, ended: (id: RequestId) => void) {
    this.#socketPath = socketPath
    this.#ended = ended
  }

  /** Rejects with `RemoteFailure` when the server is not reached or does not let us in. */
  readonly fetch = async (url: string | URL, init: FetchInit = {}): Promise<Response> => {
    const method = init.method ?? 'GET'
    // As from a server that has no such stream.
    if (method === 'GET' && !this.#mayListen()) return new Response(null, { status: 405 })
    const body = typeof init.body === 'string' ? init.body : undefined
    const message = body === undefined ? {} : outgoing.parse(JSON.parse(body))
    this.#forget(message)
    const signal = AbortSignal.any([this.#closing.signal, ...(init.signal ? [init.signal] : [])])
    const exchange = request({
      socketPath: this.#socketPath,
      path: new URL(url).pathname,
      method,
      headers: Object.fromEntries(new Headers(init.headers)),
      signal,
      agent: false,
    })
    const { id } = message
    if (id !== undefined && message.method !== undefined) {
      this.#open.set(id, exchange)
      exchange.once('close', () => this.#open.delete(id))
    }
    return this.#answer(await answered(exchange, body), id)
  };

  [Symbol.dispose](): void {
    this.#closing.abort()
  }

  #mayListen(): boolean {
    const now = performance.now()
    this.#listens = [...this.#listens.filter((at) => now - at < LISTENS_MS), now]
    return this.#listens.length <= MAX_LISTENS
  }

  /** A request that nobody waits for any more. */
  #forget({ method, params }: z.infer<typeof outgoing>): void {
    if (method !== 'notifications/cancelled' || params?.requestId === undefined) return
    this.#open.get(params.requestId)?.destroy()
  }

  async #answer(incoming: IncomingMessage, id: RequestId | undefined): Promise<Response> {
    // What is left of it when nobody reads any more is nobody's failure.
    incoming.on('error', () => undefined)
    const { statusCode: status = 500 } = incoming
    const headers = headersOf(incoming)
    if (status < 200 || status > 599) throw new RemoteFailure('connection', `answered with status ${status}`)
    const bytes = ReadableStream.from<Uint8Array>(incoming)
    if (status >= 300) {
      const text = await new Response(bytes.pipeThrough(errorText())).text()
      throw failureOf(status, headers.get(ERROR_HEADER), text)
    }
    if (status === 202 || status === 204 || status === 205) {
      await bytes.cancel()
      return new Response(null, { status, headers })
    }
    const isStream = headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() === 'text/event-stream'
    if (isStream && id !== undefined) {
      incoming.once('close', () => setTimeout(() => this.#ended(id), UNREAD_MS).unref())
    }
    return new Response(bytes.pipeThrough(isStream ? events() : oneMessage()), { status, headers })
  }
}

function answered(exchange: ClientRequest, body: string | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    exchange.on('response', resolve)
    exchange.on('error', (error) => reject(new RemoteFailure('connection', `could not be reached: ${error.message}`)))
    exchange.end(body)
  })
}

function headersOf({ headersDistinct }: IncomingMessage): Headers {
  const headers = new Headers()
  for (const [name, values] of Object.entries(headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value)
  }
  return headers
}

/** What an answer that is an error means. The gateway's own say what they are. */
function failureOf(status: number, own: string | null, text: string): RemoteFailure {
  if (own !== null) {
    const said = ownError.safeParse(parse(text))
    const why = said.success ? said.data.error.message : `the gateway refused it (${own})`
    return new RemoteFailure(own === 'authentication' ? 'authentication' : 'connection', why)
  }
  if (status === 401 || status === 403) {
    return new RemoteFailure('authentication', `did not let us in: status ${status} ${text}`)
  }
  return new RemoteFailure('connection', `answered with status ${status} ${text}`)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
