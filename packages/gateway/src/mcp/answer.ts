import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Duplex, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { replaceInText, type Replacement, replacing } from '../injection/replacer.ts'
import { McpRefusal, noConnection } from './refusal.ts'

const passedOn = ['content-type', 'mcp-session-id', 'mcp-protocol-version'] as const

export interface AnswerLimits {
  /** Of an answer that is no stream of events. */
  readonly answerBytes: number
  /** Of one event of a stream, which itself may be endless. */
  readonly eventBytes: number
}

interface PassingOn {
  readonly secrets: readonly Replacement[]
  readonly limits: AnswerLimits
  /** For messages. */
  readonly host: string
}

/** Passes an answer on, without these secrets. Throws a refusal as long as nothing has gone on; what breaks off later is cut. */
export async function passOn(incoming: IncomingMessage, response: ServerResponse, given: PassingOn): Promise<void> {
  const { secrets, limits, host } = given
  const status = incoming.statusCode ?? 0
  if (status < 200 || status > 599) throw noConnection(`${host} has answered with a status that is none`)
  if (status >= 300 && status < 400) throw noConnection(`${host} redirects (${status}), which is not followed`)
  if (!isPlain(incoming)) throw noConnection(`${host} has answered in an encoding that was not asked for`)
  const isStream = /^text\/event-stream(?:\s*;|\s*$)/i.test(incoming.headers['content-type'] ?? '')
  if (!isStream && Number(incoming.headers['content-length'] ?? 0) > limits.answerBytes)
    throw tooLong(host, limits.answerBytes)
  const headers: Record<string, string> = {}
  for (const name of passedOn) {
    const value = incoming.headers[name]
    if (typeof value === 'string') headers[name] = replaceInText(value, secrets)
  }
  response.sendDate = false
  response.writeHead(status, headers)
  if (isStream) response.flushHeaders()
  const limit = isStream ? eventLimit(limits.eventBytes, host) : byteLimit(limits.answerBytes, host)
  try {
    await pipeline(incoming, limit, replacing(secrets), response)
  } catch (error) {
    throw error instanceof McpRefusal ? error : noConnection(`${host} has broken off its answer`)
  }
}

/** Are its bytes what they stand for? */
export function isPlain({ headers }: IncomingMessage): boolean {
  const encoding = headers['content-encoding']
  return encoding === undefined || encoding.toLowerCase() === 'identity'
}

function tooLong(host: string, limit: number, what = 'an answer'): McpRefusal {
  return new McpRefusal(502, 'limit', `${host} has sent ${what} of more than ${limit} bytes`)
}

function byteLimit(limit: number, host: string): Duplex {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > limit) done(tooLong(host, limit))
      else done(null, chunk)
    },
  })
}

const CR = 13
const LF = 10

/** An event ends with an empty line; a line with CR, LF or both. */
function eventLimit(limit: number, host: string): Duplex {
  let bytes = 0
  let isLineEmpty = true
  let last = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      for (const byte of chunk) {
        bytes++
        const isSecondHalf = byte === LF && last === CR
        last = byte
        if (isSecondHalf) continue
        if (byte !== CR && byte !== LF) isLineEmpty = false
        else if (isLineEmpty) bytes = 0
        else isLineEmpty = true
        if (bytes > limit) return done(tooLong(host, limit, 'an event'))
      }
      done(null, chunk)
    },
  })
}
