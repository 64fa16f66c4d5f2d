/** `bare-server.ts <socket>`: a server of nothing. Ends when its stdin does. */
import { once } from 'node:events'
import { createServer } from 'node:http'

const [socket = ''] = process.argv.slice(2)
const server = createServer((_request, response) => response.end())
server.listen(socket)
await once(server, 'listening')
process.stdout.write(`${JSON.stringify({ ready: true })}\n`)
await once(process.stdin.resume(), 'end')
server.close()
process.exit()
