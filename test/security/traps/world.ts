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
import { runGateway, type RunningGateway } from '@berth/gateway/fixture/running-gateway'
import { startStubDns } from '@berth/gateway/fixture/stub-dns'
import { RogueHost } from './rogue-host.ts'
import { good4, good6, own4, rogue4, zone } from './zone.ts'

const PORTS = [22, 25, 80, 443, 3128, 5432, 6379, 8080, 8443]
const [dir = ''] = process.argv.slice(2)

for (const line of [
  'link set lo up',
  'route add local 0.0.0.0/0 dev lo',
  '-6 route add local ::/0 dev lo',
  `addr add ${own4}/32 dev lo`,
])
  execFileSync('ip', line.split(' '))

/** Addresses and ports of connections that should never have been made. */
const hits: string[] = []
const reached: string[] = []
const rogue = new RogueHost()
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
    else if (at === rogue4 && port === 80) rogue.serve(socket)
    else {
      hits.push(`${at} ${port}`)
      socket.destroy()
    }
  })
  server.listen(port, '::')
  await once(server, 'listening')
}

/** Dials a trap, and takes back what it has seen. */
async function lookBack(): Promise<string[]> {
  await once(connect({ host: '10.0.0.1', port: 443 }).resume(), 'close')
  return hits.splice(0)
}

const dns = await startStubDns(zone, { port: 53 })
const startGateway = (): Promise<RunningGateway> =>
  runGateway(join(dir, 'state'), {
    BERTH_EGRESS_DNS: dns.server,
    // Of the test: the way to the model needs no network.
    BERTH_UPSTREAM_SOCKET: join(dir, 'model-api.sock'),
    ANTHROPIC_BASE_URL: 'http://model.test',
    ANTHROPIC_API_KEY: 'the-key-of-the-model',
  })
let gateway = await startGateway()

async function report(url: string | undefined): Promise<unknown> {
  switch (url) {
    case '/eyes':
      return await lookBack()
    case '/visits':
      return rogue.visits
    case '/kill':
      return await gateway.kill('SIGKILL')
    case '/start':
      gateway = await startGateway()
      return null
    case undefined:
    default:
      return { hits, asked: dns.asked, reached }
  }
}
const reporter = createHttpServer((request, response) => {
  void report(request.url).then((seen) => response.end(JSON.stringify(seen)))
})
reporter.listen(join(dir, 'report.sock'))
await once(reporter, 'listening')
process.stdout.write('ready\n')
await once(process.stdin.resume(), 'end')
await gateway.kill('SIGKILL')
process.exit(0)
