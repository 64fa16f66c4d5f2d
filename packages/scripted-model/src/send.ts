import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Clock } from './clock.ts'
import type { Fault, Step } from './parse-script.ts'
import type { ReplyMessage } from './reply.ts'
import { serverSentEvent, stamped, streamEvents } from './stream.ts'

/** One open answer. `signal` aborts when its connection ends. */
export interface Exchange {
  response: ServerResponse
  signal: AbortSignal
  clock: Clock
}

export interface Answer {
  message: ReplyMessage
  step: Step
  fault: Fault | undefined
  stream: boolean
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** The Messages API's error envelope; `request-id` is among the headers already set. */
export function sendError(response: ServerResponse, status: number, type: string, message: string): void {
  const request_id = response.getHeader('request-id') ?? null
  sendJson(response, status, { type: 'error', error: { type, message }, request_id })
}

/** Answers a model call as its step says, faults included. Resolves when there is nothing more to send; rejects when the connection ends first. */
export async function sendAnswer(exchange: Exchange, answer: Answer): Promise<void> {
  const { response, signal, clock } = exchange
  const { fault, step } = answer
  if (step.delayMs > 0) await clock.sleep(step.delayMs, signal)
  switch (fault?.kind) {
    case undefined:
      return sendMessage(exchange, answer, Number.POSITIVE_INFINITY)
    case 'error':
      for (const [name, value] of Object.entries(fault.headers)) response.setHeader(name, value)
      return sendError(response, fault.status, fault.type, fault.message)
    case 'garbage':
      response.writeHead(200, { 'content-type': answer.stream ? 'text/event-stream' : 'application/json' })
      return void response.end('<html>This is not the answer you are looking for.')
    case 'hang':
      return untilClosed(signal)
    case 'stall':
      await sendMessage(exchange, answer, fault.afterEvents)
      return untilClosed(signal)
    case 'cut':
      await sendMessage(exchange, answer, fault.afterEvents)
      return closeEarly(response)
  }
}

/** At most `limit` events of the message; a message cut short is not ended. */
async function sendMessage(exchange: Exchange, answer: Answer, limit: number): Promise<void> {
  const { response, signal, clock } = exchange
  if (!answer.stream) return sendPlain(response, answer.message, limit)
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  response.flushHeaders()
  let count = 0
  for (const { pauseMs, event } of streamEvents(answer.message, answer.step)) {
    if (count++ >= limit) return
    if (pauseMs > 0) await clock.sleep(pauseMs, signal)
    const sent = answer.step.stamp ? stamped(event, clock.monotonic()) : event
    if (!response.write(serverSentEvent(sent))) await once(response, 'drain', { signal })
  }
  if (limit === Number.POSITIVE_INFINITY) response.end()
}

function sendPlain(response: ServerResponse, message: ReplyMessage, limit: number): void {
  if (limit === Number.POSITIVE_INFINITY) return sendJson(response, 200, message)
  const body = JSON.stringify(message)
  response.writeHead(200, { 'content-type': 'application/json' })
  response.write(body.slice(0, body.length / 2))
}

/** What was written reaches the peer; then the connection ends inside the body. */
async function closeEarly(response: ServerResponse): Promise<void> {
  await new Promise<void>((flushed) => response.write('', () => flushed()))
  response.socket?.destroySoon()
}

async function untilClosed(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort')
}
