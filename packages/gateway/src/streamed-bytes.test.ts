/** What is read from all connections to the model API lands in one place: no answer may ever show bytes of another, or of its own future. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { makeCertificates } from './fixture/certificates.ts'
import { makeRoute, runGateway, temporary } from './fixture/running-gateway.ts'
import { readAll, send } from './fixture/sandbox-call.ts'
import { messageStart, sse, textDelta } from './fixture/upstream-server.ts'

const STREAMS = 4
const DELTAS = 600

/** Every delta is unlike all others, and long enough that several reads are needed for some and one has several. */
const deltaOf = (name: string, n: number): string => textDelta(`${name} ${n} `.repeat(1 + ((n * 37) % 900)))
const textOf = (name: string): string => Array.from({ length: DELTAS }, (_, n) => deltaOf(name, n)).join('')
const begin = messageStart('m', { input_tokens: 1, output_tokens: 1 })
const end = sse('message_delta', { delta: {}, usage: { output_tokens: 7 } }) + sse('message_stop')

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { name } = /(?<name>stream-\d+)/.exec(await readAll(request))?.groups ?? {}
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(begin)
  for (let n = 0; n < DELTAS; n++) if (!response.write(deltaOf(name ?? '', n))) await once(response, 'drain')
  response.end(end)
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

/** As slowly as it takes for what is on its way to pile up, now and then. */
async function readSlowly(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) {
    if (Buffer.isBuffer(chunk)) chunks.push(chunk)
    for (let n = 0; n < 20; n++) await setImmediate()
  }
  return Buffer.concat(chunks).toString('utf8')
}

test.each(['http', 'https'])('streams at once over %s are each what was sent', { timeout: 120_000 }, async (scheme) => {
  await using directory = await temporary()
  const { ca, key, cert } = await makeCertificates(directory.path, ['localhost'])
  const listener: RequestListener = (request, response) =>
    void answer(request, response).catch(() => response.destroy())
  const server = scheme === 'http' ? createServer(listener) : createSecureServer({ key, cert }, listener)
  await using upstream = await listening(server)
  await using gateway = await runGateway(`${directory.path}/state`, {
    ANTHROPIC_BASE_URL: `${scheme}://localhost:${upstream.port}`,
    ANTHROPIC_API_KEY: 'k',
    NODE_EXTRA_CA_CERTS: ca,
  })
  const route = await makeRoute(directory.path, 's')
  await gateway.client.route('s', route)
  const names = Array.from({ length: STREAMS }, (_, n) => `stream-${n}`)
  const texts = names.map(async (name) => {
    const messages = [{ role: 'user', content: name }]
    const body = JSON.stringify({ model: 'm', max_tokens: 9, messages, stream: true })
    return await readSlowly(await send({ socket: route.socket_path, body }))
  })
  const wanted = names.map((name) => digest(begin + textOf(name) + end))
  expect((await Promise.all(texts)).map(digest)).toEqual(wanted)
  const { models } = await gateway.client.usage('s')
  expect(models).toMatchObject([{ requests: STREAMS, input_tokens: STREAMS, output_tokens: 7 * STREAMS }])
})

async function listening(server: Server): Promise<AsyncDisposable & { readonly port: number }> {
  server.listen(0, 'localhost')
  await once(server, 'listening')
  const address: AddressInfo | string | null = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}
