/**
 * A model API that answers at once: `upstream.ts`. A request whose `max_tokens` is n gets a stream of n text deltas of `top_k` KiB each,
 * or of 100 bytes for `top_k` 0. Ends when its stdin does.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { z } from 'zod'

const request = z.object({ max_tokens: z.int(), top_k: z.int() })
const sse = (type: string, fields: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`

async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(Buffer.from(chunk))
  const { max_tokens, top_k } = request.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')))
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const usage = { input_tokens: 1, output_tokens: 1 }
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: null, usage }
  response.write(sse('message_start', { message }))
  const text = 'x'.repeat(top_k === 0 ? 100 : top_k * 1024)
  const delta = sse('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
  // Written as a model's server would under load: several small events at a time.
  const together = Math.min(max_tokens, top_k === 0 ? 64 : 1)
  const piece = Buffer.from(delta.repeat(together))
  for (let n = 0; n < max_tokens; n += together) {
    if (!response.write(piece)) await once(response, 'drain')
  }
  response.write(sse('message_delta', { delta: { stop_reason: 'end_turn', stop_sequence: null }, usage }))
  response.end(sse('message_stop', {}))
}

const server = createServer((incoming, response) => void answer(incoming, response).catch(() => response.destroy()))
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
const port = typeof address === 'object' && address !== null ? address.port : 0
process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` })}\n`)
await once(process.stdin.resume(), 'end')
process.exit()
