import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { z } from 'zod'
import type { SessionEvent } from '../src/follow.ts'

const SESSION = 'sesn_recorded'

/** What the recording does when a client has sent these events: append others, for streams and lists. */
export type Reaction = (sent: readonly Sent[], play: (events: readonly SessionEvent[]) => void) => void
const sentEvent = z.looseObject({ type: z.string() })
export type Sent = z.infer<typeof sentEvent>

const sendBody = z.object({ events: z.array(sentEvent) })
const createBody = z.looseObject({ initial_events: z.array(sentEvent) })

export interface RecordedServer extends AsyncDisposable {
  readonly url: string
  /** `POST /v1/agents` and the like, in order. */
  readonly requests: string[]
  /** Appends events now. */
  play(events: readonly SessionEvent[]): void
  /** Breaks every open stream, as a restart does; these events happen before anybody is back. */
  dropStreams(meanwhile: readonly SessionEvent[]): void
}

/** A server that answers from a recording: the events of one session, some at once and some in reaction to what is sent. */
export async function recordedServer(react: Reaction): Promise<RecordedServer> {
  const log: SessionEvent[] = []
  const streams = new Set<ServerResponse>()
  const requests: string[] = []
  const play = (events: readonly SessionEvent[]): void => {
    for (const event of events) {
      log.push(event)
      for (const stream of streams) stream.write(frame(event))
    }
  }
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const route = `${request.method} ${pathname}`
    requests.push(route)
    if (request.headers.authorization !== 'Bearer berth_0123456789abcdef') return json(response, refusal, 401)
    switch (route) {
      case `GET /v1/sessions/${SESSION}/events/stream`:
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        streams.add(response)
        response.on('close', () => streams.delete(response))
        return
      case `GET /v1/sessions/${SESSION}/events`:
        return json(response, { data: log, next_page: null })
      case `POST /v1/sessions/${SESSION}/events`: {
        const { events } = sendBody.parse(await bodyOf(request))
        json(response, { data: [] })
        return react(events, play)
      }
      case 'POST /v1/sessions': {
        const { initial_events } = createBody.parse(await bodyOf(request))
        json(response, { id: SESSION, type: 'session' })
        return react(initial_events, play)
      }
      default:
        return json(response, objects[route] ?? refusal, objects[route] === undefined ? 404 : 200)
    }
  }
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = z.object({ port: z.number() }).parse(server.address())
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    play,
    dropStreams: (meanwhile) => {
      for (const stream of streams) stream.destroy()
      streams.clear()
      play(meanwhile)
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

const agent = { id: 'agent_1', type: 'agent', name: 'berth-cli', version: 3, archived_at: null }
const refusal = {
  type: 'error',
  error: { type: 'not_found_error', message: 'no such thing \u001b[2J' },
  request_id: 'req_1',
}
const objects: Record<string, object> = {
  'GET /v1/agents': { data: [agent], next_page: null },
  'POST /v1/agents/agent_1': agent,
  'GET /v1/environments': { data: [], next_page: null },
  'POST /v1/environments': { id: 'env_1', type: 'environment', name: 'berth-cli', archived_at: null },
  [`POST /v1/sessions/${SESSION}/archive`]: { id: SESSION, type: 'session' },
}

function frame(event: SessionEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}

function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json', 'request-id': 'req_1' }).end(JSON.stringify(body))
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return JSON.parse(text)
}
