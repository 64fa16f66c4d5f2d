import type { IncomingMessage } from 'node:http'
import { EgressRefusal } from '../egress/refusal.ts'
import { checkHead, malformed } from '../egress/request-head.ts'

const methods = new Set(['POST', 'GET', 'DELETE'])
const PATH = /^\/(?<name>[A-Za-z0-9_-]{1,64})$/
const passedOn = new Set(['accept', 'content-type', 'last-event-id'])

/** The name of the server that is meant. Refuses whatever is no request of MCP's transport over HTTP. */
export function readCall(request: IncomingMessage): string {
  checkHead(request)
  const { method = '', url = '', headers } = request
  if (request.httpVersion !== '1.1') throw new EgressRefusal(505, 'malformed', 'HTTP/1.1 is required')
  if (!methods.has(method)) throw new EgressRefusal(405, 'method', `${method} is not passed on`)
  if (headers.upgrade !== undefined) throw new EgressRefusal(400, 'upgrade', 'no upgrade is passed on')
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0
  if (hasBody && method !== 'POST') throw malformed(`${method} has no body here`)
  const name = PATH.exec(url)?.groups?.['name']
  if (name === undefined) throw malformed('the target of the request is not / and the name of a server')
  return name
}

/** Headers of MCP's transport alone, name and value in turns: nothing else that the runner sends concerns the server. */
export function toServer({ headers }: IncomingMessage): string[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    typeof value === 'string' && (passedOn.has(name) || name.startsWith('mcp-')) ? [name, value] : [],
  )
}
