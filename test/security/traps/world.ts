/**
 * Runs in a network namespace of its own, in which every address there is belongs to this machine: whatever is dialled, somebody listens and
 * writes it down. One address alone is a host that may be reached. Takes a directory; says `ready`, and ends with its input.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { makeCertificates } from '@berth/gateway/fixture/certificates'
import { runGateway } from '@berth/gateway/fixture/running-gateway'
import { startStubDns } from '@berth/gateway/fixture/stub-dns'
import { good4, good6, zone } from './zone.ts'

const PORTS = [22, 25, 80, 443, 3128, 5432, 6379, 8080, 8443]
const [dir = ''] = process.argv.slice(2)

for (const line of ['link set lo up', 'route add local 0.0.0.0/0 dev lo', '-6 route add local ::/0 dev lo'])
  execFileSync('ip', line.split(' '))

/** Addresses and ports of connections that should never have been made. */
const hits: string[] = []
const reached: string[] = []
const { key, cert } = await makeCertificates(dir, ['allowed.test', 'other.test'])
const serve = (request: IncomingMessage, response: ServerResponse): void => {
  reached.push(`${request.method} ${request.url}`)
  if (request.url === '/away') response.writeHead(302, { location: 'http://127.0.0.1/inside' })
  request.resume()
  request.once('end', () => response.end('reached'))
}
const web = createHttpServer(serve)
const secure = createHttpsServer({ key, cert }, serve)

for (const port of PORTS) {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined)
    const at = (socket.localAddress ?? '').replace('::ffff:', '')
    if ((at === good4 || at === good6) && port === 80) web.emit('connection', socket)
    else if ((at === good4 || at === good6) && port === 443) secure.emit('connection', socket)
    else {
      hits.push(`${at} ${port}`)
      socket.destroy()
    }
  })
  server.listen(port, '::')
  await once(server, 'listening')
}

/** Dials a trap, and takes back what it has seen. */
async function lookBack(response: ServerResponse): Promise<void> {
  await once(connect({ host: '10.0.0.1', port: 443 }).resume(), 'close')
  response.end(JSON.stringify(hits.splice(0)))
}

const dns = await startStubDns(zone, { port: 53 })
const gateway = await runGateway(join(dir, 'state'), { BERTH_EGRESS_DNS: dns.server })
const report = createHttpServer((request, response) => {
  if (request.url === '/eyes') void lookBack(response)
  else response.end(JSON.stringify({ hits, asked: dns.asked, reached }))
})
report.listen(join(dir, 'report.sock'))
await once(report, 'listening')
process.stdout.write('ready\n')
await once(process.stdin.resume(), 'end')
await gateway.kill('SIGKILL')
process.exit(0)
