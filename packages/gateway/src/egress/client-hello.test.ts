import { once } from 'node:events'
import { createServer } from 'node:net'
import { connect } from 'node:tls'
import { assert, property, uint8Array } from 'fast-check'
import { expect, test } from 'vitest'
import { readClientHello } from './client-hello.ts'

/** What Node's own TLS says first. */
async function realHello(servername: string): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const client = connect({
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    host: '127.0.0.1',
    servername,
  })
  client.on('error', () => undefined)
  const [socket] = await once(server, 'connection')
  const [bytes] = await once(socket, 'data')
  client.destroy()
  server.close()
  return bytes
}

test('the name in a real hello is read, and no sooner than the hello is whole', async () => {
  const bytes = await realHello('a.example')
  expect(readClientHello(bytes)).toEqual({ state: 'complete', serverName: 'a.example' })
  for (let length = 0; length < bytes.length; length++)
    expect(readClientHello(bytes.subarray(0, length))).toEqual({ state: 'incomplete' })
  expect(readClientHello(Buffer.concat([bytes, bytes]))).toMatchObject({ state: 'refused' })
})

test('a hello without a name is refused', async () => {
  expect(readClientHello(await realHello(''))).toEqual({ state: 'refused', fault: 'names no server' })
})

test('whatever bytes there are, there is an answer', async () => {
  const real = await realHello('a.example')
  assert(
    property(uint8Array({ maxLength: 300 }), (bytes) => {
      expect(readClientHello(Buffer.from(bytes))).toHaveProperty('state')
      const changed = Buffer.from(real)
      bytes.forEach((byte, index) => (changed[(index * 31 + byte) % changed.length] = byte))
      expect(readClientHello(changed)).toHaveProperty('state')
    }),
    { numRuns: 3_000 },
  )
})
