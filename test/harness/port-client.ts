/** A client of the ports of sandboxes. Their names are not looked up: below localhost they are all this machine. */
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { portUrl, type PortUrl } from '@berth/protocol/api/port'
import { WebSocket } from 'ws'
import type { TestBerth } from './test-berth.ts'

export interface PortAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface PortRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer
}

/** Asks for a signed URL. */
export async function signPort(berth: TestBerth, id: string, port: number, body: object = {}): Promise<PortUrl> {
  const headers = { 'content-type': 'application/json' }
  const init = { method: 'POST', headers, body: JSON.stringify(body) }
  const answer = await berth.fetch(`/berth/v1/sessions/${id}/ports/${port}/url`, init)
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`)
  return portUrl.parse(await answer.json())
}

/** Resolves with the head of the answer; the body is yet to be read. */
export function openPort(
  url: string,
  { method = 'GET', headers = {}, body }: PortRequest = {},
): Promise<IncomingMessage> {
  const { host, port, pathname, search } = new URL(url)
  return new Promise((resolve, reject) => {
    const out = request({
      host: '127.0.0.1',
      port,
      path: pathname + search,
      method,
      agent: false,
      headers: { host, ...headers },
    })
    out.on('response', resolve)
    out.on('error', reject)
    out.end(body)
  })
}

export async function askPort(url: string, asked?: PortRequest): Promise<PortAnswer> {
  const answer = await openPort(url, asked)
  let body = ''
  for await (const chunk of answer.setEncoding('utf8')) body += String(chunk)
  return { status: answer.statusCode ?? 0, headers: answer.headers, body }
}

export function webSocketTo(url: string, headers: Record<string, string> = {}): WebSocket {
  const { host, port, pathname, search } = new URL(url)
  return new WebSocket(`ws://127.0.0.1:${port}${pathname}${search}`, { headers: { host, ...headers } })
}
