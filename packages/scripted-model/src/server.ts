import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { z } from 'zod'
import { systemClock, type Clock } from './clock.ts'
import { FaultTries } from './fault-tries.ts'
import { ScriptError } from './parse-script.ts'
import { locate, type Position } from './prompt.ts'
import { estimateTokens, replyTo, type CallContext, type Reply } from './reply.ts'
import { RequestLog, type RequestRecord } from './request-log.ts'
import { blocksOf, type ContentBlock, firstLine, messagesRequest, type MessagesRequest } from './request.ts'
import { sendAnswer, sendError, sendJson } from './send.ts'

export interface ScriptedModelOptions {
  listen: { host: string; port: number } | { path: string }
  /** Requests with another key, or none, are answered 401. */
  requireKey?: string
  clock?: Clock
  /** Called when a model call came in, before it is answered. */
  onRequest?: (record: RequestRecord) => void
}

export interface ScriptedModel extends AsyncDisposable {
  /** Base URL; `unix:<path>` when it listens on a path. */
  readonly url: string
  /** The last 1000 model calls, oldest first: a copy. */
  requests(): RequestRecord[]
}

interface Model {
  requireKey: string | undefined
  clock: Clock
  onRequest: (record: RequestRecord) => void
  log: RequestLog
  tries: FaultTries
  /** HTTP requests so far. */
  calls: number
}

const MAX_BODY_BYTES = 32 * 1024 * 1024
/** Longer than a test pauses between two calls: a client never reuses a connection that is just being closed. */
const KEEP_ALIVE_MS = 120_000

/** Resolves when it listens. Disposing it ends open answers too. */
export async function startScriptedModel(options: ScriptedModelOptions): Promise<ScriptedModel> {
  const model: Model = {
    requireKey: options.requireKey,
    clock: options.clock ?? systemClock,
    onRequest: options.onRequest ?? (() => {}),
    log: new RequestLog(),
    tries: new FaultTries(),
    calls: 0,
  }
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => void handle(model, request, response),
  )
  server.listen(options.listen)
  await once(server, 'listening')
  const address = server.address()
  return {
    url: typeof address === 'string' || address === null ? `unix:${address}` : urlOf(address),
    requests: () => model.log.records(),
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function urlOf({ family, address, port }: { family: string; address: string; port: number }): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

async function handle(model: Model, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const closed = new AbortController()
  response.once('close', () => closed.abort())
  response.setHeader('request-id', `req_${String(++model.calls).padStart(24, '0')}`)
  try {
    await route(model, { request, response, signal: closed.signal })
  } catch (error) {
    if (closed.signal.aborted) return
    if (response.headersSent) response.destroy()
    else sendError(response, 500, 'api_error', error instanceof Error ? error.message : String(error))
  }
}

interface Call {
  request: IncomingMessage
  response: ServerResponse
  signal: AbortSignal
}

async function route(model: Model, call: Call): Promise<void> {
  const { request, response } = call
  const { pathname } = new URL(request.url ?? '/', 'http://model')
  const name = `${request.method} ${pathname}`
  if (name === 'GET /healthz' || name === 'HEAD /api/hello') return sendJson(response, 200, { ok: true })
  if (!keyMatches(model.requireKey, request)) {
    return sendError(response, 401, 'authentication_error', 'invalid x-api-key')
  }
  switch (name) {
    case 'GET /requests':
      return sendJson(response, 200, model.log.records())
    case 'POST /v1/messages':
      return answerCall(model, call)
    case 'POST /v1/messages/count_tokens': {
      const body = await readBody(request)
      if (body === undefined) return sendTooLarge(response)
      return sendJson(response, 200, { input_tokens: estimateTokens(body.byteLength) })
    }
    default:
      return sendError(response, 404, 'not_found_error', `the scripted model has no ${name}`)
  }
}

async function answerCall(model: Model, { request, response, signal }: Call): Promise<void> {
  const body = await readBody(request)
  if (body === undefined) return sendTooLarge(response)
  const parsed = parseBody(body)
  if ('problem' in parsed) return sendError(response, 400, 'invalid_request_error', parsed.problem)
  const position = locate(parsed.request)
  const record = recordOf(model, request, { body: parsed.request, position })
  model.log.add(record, body.byteLength, response)
  model.onRequest(structuredClone(record))
  const scope = JSON.stringify([header(request, 'x-claude-code-session-id'), header(request, 'x-claude-code-agent-id')])
  const call = String(response.getHeader('request-id'))
  const reply = scripted(parsed.request, { position, scope, requestBytes: body.byteLength, call })
  if (reply instanceof ScriptError) return sendError(response, 400, 'invalid_request_error', reply.message)
  const { prompts, prompt, step } = position
  const fault = model.tries.next(JSON.stringify([scope, prompts.length, prompt, step]), reply.step.faults)
  const answer = { ...reply, fault, stream: parsed.request.stream === true }
  await sendAnswer({ response, signal, clock: model.clock }, answer)
}

function scripted(request: MessagesRequest, context: CallContext): Reply | ScriptError {
  try {
    return replyTo(request, context)
  } catch (error) {
    if (error instanceof ScriptError) return error
    throw error
  }
}

function recordOf(
  model: Model,
  request: IncomingMessage,
  { body, position }: { body: MessagesRequest; position: Position },
): RequestRecord {
  return {
    n: model.log.nextNumber(),
    session_id: header(request, 'x-claude-code-session-id') ?? null,
    model: body.model,
    step: position.step,
    prompt: firstLine(position.prompt),
    headers: Object.fromEntries(Object.keys(request.headers).map((name) => [name, header(request, name) ?? ''])),
    tools: (body.tools ?? []).map(({ name }) => name),
    last_user: blocksOf(body.messages.findLast((message) => message.role === 'user')?.content),
    results: newestResults(body.messages),
    status: null,
    outcome: 'open',
    started_at: model.clock.now().toISOString(),
  }
}

function header(request: IncomingMessage, name: string): string | undefined {
  return request.headersDistinct[name]?.join(', ')
}

function keyMatches(required: string | undefined, request: IncomingMessage): boolean {
  if (required === undefined) return true
  const bearer = /^Bearer (.*)$/i.exec(header(request, 'authorization') ?? '')?.[1]
  return [header(request, 'x-api-key'), bearer].some((key) => key !== undefined && sameSecret(key, required))
}

function sameSecret(one: string, other: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(one), hash(other))
}

/** undefined: longer than the limit. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk)
    length += bytes.byteLength
    if (length <= MAX_BODY_BYTES) chunks.push(bytes)
  }
  return length <= MAX_BODY_BYTES ? Buffer.concat(chunks) : undefined
}

function sendTooLarge(response: ServerResponse): void {
  sendError(response, 413, 'request_too_large', `a request has at most ${MAX_BODY_BYTES} bytes`)
}

function parseBody(body: Buffer): { request: MessagesRequest } | { problem: string } {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    return { problem: 'the body is not JSON' }
  }
  const parsed = messagesRequest.safeParse(value)
  return parsed.success ? { request: parsed.data } : { problem: z.prettifyError(parsed.error) }
}

/** So many user messages are looked through for results. */
const RESULT_MESSAGES = 20

function newestResults(messages: MessagesRequest['messages']): ContentBlock[] {
  const users = messages.filter((message) => message.role === 'user').slice(-RESULT_MESSAGES)
  return users.flatMap(({ content }) => blocksOf(content).filter(({ type }) => type === 'tool_result'))
}
