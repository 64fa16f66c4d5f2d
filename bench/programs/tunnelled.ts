/**
 * `tunnelled.ts <address> <bytes>`: what is behind a tunnel. The first bytes of a connection (the hello) get one byte, a `p` gets one, and an
 * `s` 256 MiB and the end. On port 443. Ends when its stdin does.
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

const [address = '', helloBytes = '0'] = process.argv.slice(2)
const piece = Buffer.alloc(1024 * 1024)
const PIECES = 256

async function stream(socket: Socket): Promise<void> {
  for (let n = 0; n < PIECES; n++) if (!socket.write(piece)) await once(socket, 'drain')
  socket.end()
}

const server = createServer({ noDelay: true }, (socket) => {
  let left = Number(helloBytes)
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    const said = chunk.subarray(Math.min(left, chunk.length)).toString('latin1')
    if (left > 0 && chunk.length >= left) socket.write('h')
    left -= Math.min(left, chunk.length)
    if (said.includes('p')) socket.write('p')
    if (said.includes('s')) void stream(socket).catch(() => socket.destroy())
  })
})
server.listen(443, address)
await once(server, 'listening')
process.stdout.write(`${JSON.stringify({ address })}\n`)
await once(process.stdin.resume(), 'end')
process.exit()
