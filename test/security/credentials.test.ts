/** Group D of the catalogue of attacks: secrets that programs use and must not have. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Sealing } from '@berth/protocol/sealing'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { ownLoopback } from '../../packages/gateway/src/fixture/egress-world.ts'
import { temporary } from '../../packages/gateway/src/fixture/running-gateway.ts'
import type { SecretSession } from '../../packages/gateway/src/fixture/secret-session.ts'
import { openSecretWorld, type SecretWorld } from '../../packages/gateway/src/fixture/secret-world.ts'
import { CertificateAuthority } from '../../packages/gateway/src/tls/certificate-authority.ts'

const LOOPBACK = 40
const secret = 'canary/7c1e"42+aa='
const variables = [
  { name: 'TOKEN', value: secret, hosts: ['bound.test', 'expired.test', 'foreign.test', 'misnamed.test'] },
  { name: 'IN_BODIES', value: 'canary-of-bodies', hosts: ['bound.test'], injection: { header: false, body: true } },
  { name: 'IN_HEADERS', value: 'canary-of-headers', hosts: ['bound.test'], injection: { header: true, body: false } },
  { name: 'UNSENDABLE', value: 'canary\r\nX-More: 1', hosts: ['bound.test'] },
]

let world: SecretWorld
let session: SecretSession
let other: SecretSession
/** What stands for the secret. */
let mark: string
/** Everything that came back to a sandbox. */
const received: string[] = []

beforeAll(async () => {
  world = await openSecretWorld(variables, LOOPBACK)
  ;[session, other] = world.sessions
  mark = session.placeholder('TOKEN')
})
afterAll(() => world[Symbol.asyncDispose]())
const sayAll =
  (): SecretWorld['host']['answering'] =>
  (response, { method, url, rawHeaders, body }) =>
    void response.end([`${method} ${url}`, ...rawHeaders, body].join('\n'))
afterEach(() => {
  world.host.answering = sayAll()
})

async function call(given: Parameters<SecretSession['call']>[0]) {
  const answer = await session.call(given)
  received.push(answer.statusMessage, ...answer.rawHeaders, answer.text)
  return answer
}

/** What the host has seen of the newest request. */
function arrived(): string {
  const { method, url, rawHeaders = [], body } = world.host.seen.at(-1) ?? {}
  return [`${method} ${url}`, ...rawHeaders, body].join('\n')
}

async function newest(): Promise<object | undefined> {
  return (await world.audit.list({ session_id: session.id, limit: 1 }))[0]
}

test('62: what a bound host says again of the secret is the placeholder, in every form that programs write', async () => {
  const forms = [
    [secret, mark],
    [JSON.stringify(secret), JSON.stringify(mark)],
    [encodeURIComponent(secret), mark],
    [Buffer.from(`user:${secret}`).toString('base64'), Buffer.from(`user:${mark}`).toString('base64')],
  ] as const
  const headers = { authorization: `Basic ${forms[3][1]}`, 'x-token': mark }
  world.host.answering = (response, { rawHeaders }) => {
    response.writeHead(200, `OK ${secret}`, {
      'x-said': secret,
      'canary-of-headers': 'a name',
      'set-cookie': [`a=${secret}`, 'b=2'],
    })
    response.end([...rawHeaders, ...forms.map(([form]) => form)].join('\n'))
  }
  const answer = await call({ host: 'bound.test', headers })
  expect(arrived()).toContain(secret)
  expect(answer.statusMessage).toBe('OK')
  expect(answer.headers).not.toHaveProperty('canary-of-headers')
  expect(answer.headers).toMatchObject({ 'x-said': mark, 'set-cookie': [`a=${mark}`, 'b=2'] })
  for (const [form, shown] of forms) {
    expect(answer.text).not.toContain(form)
    expect(answer.text).toContain(shown)
  }
})

test('62: a host to which it is not bound gets the placeholder', async () => {
  const over = await session.connect('other.test', { ca: world.hostCa })
  const basic = `Basic ${Buffer.from(`a:${mark}`).toString('base64')}`
  await call({
    host: 'other.test',
    over,
    method: 'POST',
    headers: { authorization: basic, 'x-token': mark },
    body: mark,
  })
  over.destroy()
  expect(arrived()).toContain(`x-token\n${mark}`)
  expect(arrived()).toContain(basic)
  expect(arrived()).not.toContain(secret)
})

const cuts: [string, (bytes: Buffer) => Buffer[]][] = [
  ['byte by byte', (bytes) => [...bytes].map((byte) => Buffer.from([byte]))],
  ['in two halves', (bytes) => [bytes.subarray(0, 9), bytes.subarray(9)]],
  ['after a false beginning', (bytes) => [bytes.subarray(0, 5), bytes, bytes.subarray(0, 7), bytes]],
]
test.each(cuts)('62: a host that sends it %s sends the placeholder', async (_, cut) => {
  world.host.answering = (response) => {
    response.flushHeaders()
    const send = async (): Promise<void> => {
      for (const chunk of cut(Buffer.from(secret)))
        await new Promise<void>((done) => response.write(chunk, () => done()))
      response.end()
    }
    void send()
  }
  const answer = await call({ host: 'bound.test' })
  expect(answer.text).toContain(mark)
  expect(answer.text).not.toContain(secret)
})

test('62: nor does it help to compress it, or to ask for it in parts', async () => {
  world.host.answering = (response) =>
    void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(secret))
  expect((await call({ host: 'bound.test', headers: { 'accept-encoding': 'gzip' } })).text).toBe(mark)
  world.host.answering = sayAll()
  await call({ host: 'bound.test', headers: { range: 'bytes=0-0', 'if-range': '"x"', 'accept-encoding': 'gzip' } })
  expect(arrived()).not.toMatch(/range|gzip/i)
})

test('63: methods that say again what was said are refused before a secret is put in', async () => {
  const before = world.host.connections()
  for (const method of ['TRACE', 'TRACK', 'PROPFIND']) {
    const over = await session.connect('bound.test')
    over.write(`${method} / HTTP/1.1\r\nHost: bound.test\r\nAuthorization: ${mark}\r\nMax-Forwards: 0\r\n\r\n`)
    const [answer] = await once(over, 'data')
    expect(String(answer)).toMatch(/^HTTP\/1\.1 40[05] /)
  }
  expect(await call({ host: 'bound.test', method: 'OPTIONS', path: '*' })).toMatchObject({ status: 400 })
  expect(world.host.connections()).toBe(before)
  expect(await newest()).toMatchObject({ protocol: 'tls', decision: 'deny', reason: 'malformed', credentials: [] })
})

test('64: what a client says for itself goes as it is, and another session’s placeholder is a word', async () => {
  const theirs = other.placeholder('TOKEN')
  const headers = {
    authorization: 'Bearer mine',
    'x-api-key': 'k',
    X_API_KEY: theirs,
    cookie: `a=${theirs}; b=${mark}`,
  }
  await call({ host: 'bound.test', method: 'POST', headers, body: theirs })
  expect(arrived()).toContain('authorization\nBearer mine')
  expect(arrived()).toContain(`X_API_KEY\n${theirs}`)
  expect(arrived()).toContain(`cookie\na=${theirs}; b=${secret}`)
  expect(arrived().endsWith(theirs)).toBe(true)
})

test('a host whose certificate is not to be trusted gets nothing', async () => {
  for (const [host, seen, why] of [
    ['expired.test', world.wrong.expired.seen, 'CERT_HAS_EXPIRED'],
    ['foreign.test', world.wrong.foreign.seen, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ['misnamed.test', world.host.seen, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ] as const) {
    const before = seen.length
    const answer = await call({ host, method: 'POST', headers: { authorization: mark }, body: mark })
    expect(answer).toMatchObject({ status: 502, reason: 'certificate' })
    expect(answer.text).toContain(why)
    expect(seen.length).toBe(before)
    expect(await newest()).toMatchObject({
      protocol: 'tls',
      host,
      decision: 'deny',
      reason: 'certificate',
      credentials: [],
    })
  }
})

test('67: plain HTTP has no secrets, at whatever port, and is not to be had on that of TLS', async () => {
  const heard: string[] = []
  const server = createServer((request: IncomingMessage, response) => {
    heard.push(request.rawHeaders.join('\n'))
    response.end()
  }).listen(80, ownLoopback(LOOPBACK))
  await once(server, 'listening')
  const tunnel = await session.tunnel('bound.test:80')
  tunnel.write(`GET / HTTP/1.1\r\nHost: bound.test\r\nAuthorization: ${mark}\r\nConnection: close\r\n\r\n`)
  await once(tunnel.resume(), 'end')
  server.close()
  expect(heard).toHaveLength(1)
  expect(heard[0]).toContain(mark)
  expect(heard[0]).not.toContain(secret)
  const onTls = await session.tunnel('bound.test:443')
  onTls.write(`GET / HTTP/1.1\r\nHost: bound.test\r\nAuthorization: ${mark}\r\n\r\n`)
  const chunks: Buffer[] = []
  for await (const chunk of onTls) if (Buffer.isBuffer(chunk)) chunks.push(chunk)
  expect(Buffer.concat(chunks)).toEqual(Buffer.from([21, 3, 3, 0, 2, 2, 112]))
  tunnel.destroy()
})

test('67: nor do the path, the host, or what a credential does not name have one', async () => {
  const [bodies, inHeaders] = [session.placeholder('IN_BODIES'), session.placeholder('IN_HEADERS')]
  const encoded = Buffer.from(mark).toString('base64')
  const basic = `Basic ${Buffer.from(`a:${bodies}`).toString('base64')}`
  const headers = { authorization: basic, 'x-one': encoded, 'x-two': bodies, [mark]: '1' }
  await call({ host: 'bound.test', method: 'POST', path: `/${mark}?q=${mark}`, headers, body: inHeaders })
  expect(arrived()).toContain(`POST /${mark}?q=${mark}\n`)
  for (const kept of [basic, `x-one\n${encoded}`, `x-two\n${bodies}`, `${mark}\n1`]) expect(arrived()).toContain(kept)
  expect(arrived().endsWith(inHeaders)).toBe(true)
  expect(arrived()).not.toMatch(/canary/)
  for (const host of ['other.test', 'bound.test:80', 'bound.test.', mark.replaceAll('_', '-')]) {
    const over = await session.connect('bound.test')
    over.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${mark}\r\n\r\n`)
    expect(String((await once(over, 'data'))[0])).toMatch(/^HTTP\/1\.1 400 /)
  }
})

test('67: a secret that cannot stand where its placeholder does is refused, and so is one that does not open', async () => {
  const before = world.host.connections()
  const answer = await call({ host: 'bound.test', headers: { 'x-token': session.placeholder('UNSENDABLE') } })
  expect(answer).toMatchObject({ status: 502, reason: 'secret' })
  await world.putVariables(variables, new Sealing(randomBytes(32)))
  expect(await call({ host: 'bound.test' })).toMatchObject({ status: 502, reason: 'secret' })
  expect(await newest()).toMatchObject({ decision: 'deny', reason: 'secret', credentials: [] })
  expect(world.host.connections()).toBe(before)
  expect(world.log()).toContain('a secret does not open')
  await world.putVariables(variables)
})

test('70: the authority speaks for bound hosts, to its own sandboxes alone', async () => {
  const before = world.authority.size
  await expect(session.tunnel('nobody.test:443')).rejects.toThrow('403')
  await expect(session.connect('other.test')).rejects.toThrow()
  const misnamed = await session.tunnel('bound.test:443')
  misnamed.write('\x16\x03\x01\x00\x05hello')
  await once(misnamed.resume(), 'close')
  expect(world.authority.size).toBe(before)
  await using dir = await temporary()
  const foreign = await CertificateAuthority.open({ directory: dir.path, now: () => new Date() })
  await expect(session.connect('bound.test', { ca: foreign.certificate })).rejects.toThrow()
  expect((await stat(join(world.state, 'ca/key.pem'))).mode & 0o777).toBe(0o600)
})

test('61, 71: no secret stands in an answer, in the log, or in a file of the gateway', async () => {
  // A host may well say how a secret begins.
  const hasSecret = (text: string): boolean => variables.some(({ value }) => text.includes(value))
  expect(received.filter(hasSecret)).toEqual([])
  expect(world.log()).not.toMatch(/canary/)
  const decisions = await world.audit.list({ session_id: session.id, limit: 1000 })
  expect(JSON.stringify(decisions)).not.toContain('canary')
  const files = await readdir(world.state, { recursive: true, withFileTypes: true })
  const texts = files
    .filter((file) => file.isFile())
    .map((file) => readFile(join(file.parentPath, file.name), 'latin1'))
  expect(texts.length).toBeGreaterThan(5)
  expect((await Promise.all(texts)).filter((text) => /canary/.test(text))).toEqual([])
})
