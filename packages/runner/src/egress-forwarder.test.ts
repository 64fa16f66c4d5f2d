import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { EgressForwarder, proxyEnvironment } from './egress-forwarder.ts'

const dir = mkdtempSync(join(tmpdir(), 'ef-'))
afterAll(() => rmSync(dir, { recursive: true }))

async function echoServer(path: string): Promise<AsyncDisposable> {
  const server = createServer(
    { allowHalfOpen: true },
    (socket) => void socket.on('error', () => undefined).pipe(socket),
  )
  server.listen(path)
  await once(server, 'listening')
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}

test('bytes go both ways, and a side that has ended may still listen', async () => {
  const path = join(dir, 'a.sock')
  await using _server = await echoServer(path)
  await using forwarder = await EgressForwarder.open(path)
  const client = connect({ host: '127.0.0.1', port: forwarder.port, allowHalfOpen: true })
  client.end('x'.repeat(1_000_000))
  let length = 0
  for await (const chunk of client) if (Buffer.isBuffer(chunk)) length += chunk.length
  expect(length).toBe(1_000_000)
})

test('without a gateway a connection ends at once, and with it back the next one works', async () => {
  const path = join(dir, 'b.sock')
  await using forwarder = await EgressForwarder.open(path)
  const lost = connect(forwarder.port, '127.0.0.1')
  lost.on('error', () => undefined)
  await once(lost.resume(), 'close')
  await using _server = await echoServer(path)
  const client = connect(forwarder.port, '127.0.0.1')
  client.write('hello')
  expect(String((await once(client, 'data'))[0])).toBe('hello')
  client.destroy()
})

test('closed, it leaves no connection open', async () => {
  const path = join(dir, 'c.sock')
  await using _server = await echoServer(path)
  const forwarder = await EgressForwarder.open(path)
  const client = connect(forwarder.port, '127.0.0.1')
  client.on('error', () => undefined)
  client.write('hello')
  await once(client, 'data')
  const closed = once(client, 'close')
  await forwarder[Symbol.asyncDispose]()
  await closed
})

test('programs find the proxy, and go to the sandbox’s own servers without it', async () => {
  const path = join(dir, 'd.sock')
  await using _nobody = await echoServer(path)
  const own = createServer((socket) =>
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nown'),
  )
  own.listen(0, '127.0.0.1')
  await once(own, 'listening')
  const address = own.address()
  const port = typeof address === 'object' ? address?.port : 0
  const env = { PATH: process.env.PATH ?? '', ...proxyEnvironment(1, 'password') }
  const program = `fetch('http://localhost:${port}/').then((page) => page.text()).then(console.log)`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], { env })
  expect(stdout.trim()).toBe('own')
  own.close()
})
