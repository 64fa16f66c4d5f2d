/** One POST. */
import { once } from 'node:events'
import { Agent, IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import type { BerthServer } from '../harness/berth-server.ts'

interface Exchange {
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: string
  readonly signal: AbortSignal
}

/**
 * On a connection of its own, which is reset when the signal aborts: the server can tell that the client has not read its answer. `fetch`
 * would close it as one does that has.
 */
export async function exchange(
  server: Pick<BerthServer, 'url' | 'apiKey'>,
  { path, headers, body, signal }: Exchange,
): Promise<{ status: number; body: string }> {
  const agent = new Agent({ keepAlive: true })
  const common = { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' }
  const sent = request(new URL(path, server.url), { method: 'POST', headers: { ...common, ...headers }, agent })
  const reset = (): void => {
    sent.socket?.resetAndDestroy()
    sent.destroy(new Error('given up'))
  }
  try {
    signal.throwIfAborted()
    signal.addEventListener('abort', reset, { once: true })
    sent.end(body)
    const [answer] = z.tuple([z.instanceof(IncomingMessage)]).parse(await once(sent, 'response'))
    return { status: answer.statusCode ?? 0, body: await text(answer) }
  } finally {
    signal.removeEventListener('abort', reset)
    agent.destroy()
  }
}
