/**
 * `secure-host.ts <address> <key file> <certificate file>`: a host of the web that takes TLS. `/stream` is 256 MiB, anything else a few
 * bytes. On port 443. Ends when its stdin does.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'

const [address = '', key = '', cert = ''] = process.argv.slice(2)
const piece = Buffer.alloc(1024 * 1024, 'x')
const PIECES = 256

async function stream(response: ServerResponse): Promise<void> {
  for (let n = 0; n < PIECES; n++) if (!response.write(piece)) await once(response, 'drain')
  response.end()
}

const server = createServer({ key: await readFile(key), cert: await readFile(cert) }, (request, response) => {
  if (request.url === '/stream') void stream(response).catch(() => response.destroy())
  else response.end('{"ok":true}')
})
server.listen(443, address)
await once(server, 'listening')
process.stdout.write(`${JSON.stringify({ address })}\n`)
await once(process.stdin.resume(), 'end')
process.exit()
