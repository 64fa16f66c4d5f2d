import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { contentPath } from '../harness/berth-api.ts'
import { freePort } from '../harness/free-port.ts'
import { bash } from '../harness/message.ts'
import { otherWorkspaceKey } from '../harness/other-workspace.ts'
import { askPort, openPort, signPort, webSocketTo } from '../harness/port-client.ts'
import { messagesOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { story } from '../harness/story.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'

const echo = z.object({
  method: z.string(),
  url: z.string(),
  headers: z.array(z.string()),
  bytes: z.number(),
  sha256: z.string(),
})
const node = '/opt/berth/node'

/** A session in whose sandbox `port-server.mjs` listens on port 8000. */
async function serving(berth: TestBerth): Promise<string> {
  const { id } = await berth.createSessionWith({ lifecycle: { type: 'long_running' } })
  const program = await readFile(join(import.meta.dirname, 'port-server.mjs'))
  const { status } = await berth.fetch(contentPath(id, 'server.mjs'), { method: 'PUT', body: program })
  expect(status).toBe(200)
  const start = `nohup ${node} server.mjs > log 2>&1 < /dev/null & for i in $(seq 300); do (echo > /dev/tcp/127.0.0.1/8000) 2>/dev/null && echo up && break; sleep 0.1; done; cat log`
  const turn = await berth.runTurn(id, ['Serve', bash(start), '::next', '::text {{result}}'])
  expect(messagesOf(turn)).toEqual(['up'])
  return id
}

const withPath = (url: string, path: string): string => url.replace('/?', `${path}${path.includes('?') ? '&' : '?'}`)
const bare = (url: string): string => new URL(url).origin
const cookieOf = (setCookie: string[] | undefined): string => setCookie?.[0]?.split(';')[0] ?? ''
const page = { accept: 'text/html' }

describe('a port', () => {
  story('answers by key, and what it gets holds no credential of ours', async ({ berth }) => {
    const id = await serving(berth)
    const origin = bare((await signPort(berth, id, 8000)).url)
    const key = berth.server.apiKey
    const body = Buffer.alloc(3_000_000, 'berth')
    const headers = {
      'x-api-key': key,
      authorization: 'Bearer of-the-application',
      cookie: 'berth-port=mine; theirs=1',
      'x-hop': 'gone',
      connection: 'close, x-hop',
    }
    const answer = await askPort(`${origin}/a%2Fb?c=%20d&berth%5Ftoken=x&e`, { method: 'POST', body, headers })
    expect(answer.status).toBe(200)
    const got = echo.parse(JSON.parse(answer.body))
    const sha256 = createHash('sha256').update(body).digest('hex')
    expect(got).toMatchObject({ method: 'POST', url: '/a%2Fb?c=%20d&e', bytes: body.length, sha256 })
    expect(got.headers).toEqual(expect.arrayContaining(['Bearer of-the-application', 'theirs=1', new URL(origin).host]))
    const all = JSON.stringify(got)
    for (const secret of [key, 'berth-port', 'x-hop', 'berth_token', 'x-api-key']) expect(all).not.toContain(secret)
    expect((await askPort(origin, { headers: { authorization: `Bearer ${key}` } })).body).not.toContain(key)
  })

  story('streams its answer, and one of any size', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const answer = await openPort(withPath(url, '/stream'))
    const body = answer.setEncoding('utf8')[Symbol.asyncIterator]()
    expect((await body.next()).value).toBe('first\n')
    expect((await askPort(withPath(url, '/next'))).status).toBe(200)
    expect((await body.next()).value).toBe('second\n')
    expect((await askPort(withPath(url, '/large'))).body.length).toBe(20_000_000)
  })

  story('leads a browser from a signed URL to a cookie, which is good for its own pages', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const first = await askPort(withPath(url, '//evil.example/x?y=1'), { headers: page })
    expect(first).toMatchObject({ status: 303, headers: { location: `${bare(url)}//evil.example/x?y=1` } })
    expect(first.headers['set-cookie']?.[0]).toMatch(/; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/)
    const cookie = cookieOf(first.headers['set-cookie'])
    const shown = await askPort(`${bare(url)}/x`, { headers: { ...page, cookie } })
    expect(echo.parse(JSON.parse(shown.body)).url).toBe('/x')
    expect(shown.body).not.toContain('berth-port')
    const with_ = (headers: Record<string, string>, method = 'GET') =>
      askPort(bare(url), { method, headers: { cookie, ...headers } })
    expect((await with_({ origin: bare(url), 'sec-fetch-site': 'same-origin' })).status).toBe(200)
    expect((await with_({ origin: 'http://8000--other.localhost' })).status).toBe(403)
    expect((await with_({ 'sec-fetch-site': 'same-site', 'sec-fetch-dest': 'image' })).status).toBe(403)
    expect((await with_({ 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': 'document' })).status).toBe(200)
    expect((await with_({}, 'POST')).status).toBe(403)
    const socket = webSocketTo(`${bare(url)}/`, { cookie, origin: bare(url) })
    await once(socket, 'open')
    socket.close()
    await once(socket, 'close')
    const foreign = webSocketTo(`${bare(url)}/`, { cookie, origin: 'http://evil.example' })
    await expect(once(foreign, 'open')).rejects.toThrow('403')
  })

  story('echoes a WebSocket, and refuses one as its server does', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const socket = webSocketTo(url)
    await once(socket, 'open')
    for (const text of ['hello', 'again']) {
      socket.send(text)
      const [data] = await once(socket, 'message')
      expect(String(data)).toBe(text)
    }
    socket.close()
    await once(socket, 'close')
    await expect(once(webSocketTo(withPath(url, '/refused')), 'open')).rejects.toThrow('403')
    await expect(once(webSocketTo(`${bare(url)}/`), 'open')).rejects.toThrow('401')
  })

  story('keeps what its server answers, but for what reaches over its origin', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const { status, headers, body } = await askPort(withPath(url, '/reaching'))
    expect({ status, body }).toEqual({ status: 418, body: 'teapot' })
    expect(headers).toMatchObject({ 'set-cookie': ['own=1; Path=/'], 'x-own': 'kept' })
    for (const name of ['strict-transport-security', 'clear-site-data', 'service-worker-allowed', 'x-berth-error']) {
      expect(headers).not.toHaveProperty(name)
    }
    const worker = await askPort(withPath(url, '/sw.js'), { headers: { 'service-worker': 'script' } })
    expect(worker.status).toBe(403)
  })

  story('on which nobody listens is named, and the session goes on', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8001)
    const answer = await askPort(url, { headers: { accept: '*/*' } })
    expect(answer).toMatchObject({ status: 503, body: 'nothing listens on port 8001 of the sandbox\n' })
    expect(answer.headers['x-berth-error']).toBe('unavailable')
    await expect(once(webSocketTo(url), 'open')).rejects.toThrow('503')
    const turn = await berth.runTurn(id, ['Next', '::text Still here.'])
    expect(messagesOf(turn)).toEqual(['Still here.'])
  })
})

describe('a port is refused', () => {
  story('beyond 32 connections of a session, until some are given up', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const held = Array.from({ length: 32 }, () => connect(Number(new URL(url).port), '127.0.0.1'))
    const silent = new URL(withPath(url, '/silent'))
    for (const socket of held) {
      socket.write(`GET ${silent.pathname}${silent.search} HTTP/1.1\r\nHost: ${silent.host}\r\n\r\n`)
    }
    const ask = async () => (await askPort(url)).status
    await expect.poll(ask).toBe(429)
    for (const socket of held) socket.destroy()
    await expect.poll(ask).toBe(200)
  })

  story('to a signed URL whose sandbox is gone', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    await using driver = await berth.traces.openDriver()
    await driver.destroy((await SessionSandbox.of(berth.traces, id)).ref.id)
    await berth.runTurn(id, ['Next', bash('true'), '::next', '::text Elsewhere.'])
    expect(await askPort(url)).toMatchObject({ status: 403, body: 'the signed URL is for a sandbox that is gone\n' })
  })

  story('to a signed URL that is altered, expired, of another port, method or session', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const ask = async (target: string, method = 'GET') => {
      const { status, body } = await askPort(target, { method })
      return `${status} ${body.trim()}`
    }
    const token = new URL(url).searchParams.get('berth_token') ?? ''
    const altered = `${token.slice(0, 20)}${token[20] === 'A' ? 'B' : 'A'}${token.slice(21)}`
    expect(await ask(url.replace(token, altered))).toMatch(/^401 the signed URL was altered/)
    expect(await ask(`${url}x`)).toMatch(/^401 the signed URL was altered/)
    expect(await ask(`${url}&berth_token=${token}`)).toMatch(/^400 berth_token: is there twice/)
    expect(await ask(url.replace('8000--', '8001--'))).toBe('403 the signed URL is for port 8000')
    expect(await ask(url, 'POST')).toBe('403 the signed URL is for GET, HEAD and WebSockets')
    expect(await ask((await signPort(berth, id, 8000, { method: 'any' })).url, 'POST')).toMatch(/^200/)
    const { id: other } = await berth.createSession()
    const elsewhere = url.replace(id.toLowerCase().replace('_', '-'), other.toLowerCase().replace('_', '-'))
    expect(await ask(elsewhere)).toBe('403 the signed URL is for another session')
    const short = await signPort(berth, id, 8000, { expires_in: 1 })
    await expect.poll(() => ask(short.url)).toMatch(/^401 the signed URL expired at 20/)
    expect(await ask(`${bare(url)}/`)).toMatch(/^401 this port needs/)
  })

  story('to keys of others and keys that are revoked, and when the session is archived', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const as = (key: string) => askPort(`${bare(url)}/`, { headers: { authorization: `Bearer ${key}` } })
    expect((await as(await otherWorkspaceKey(berth.dir))).status).toBe(404)
    expect((await as('berth_unknown')).status).toBe(401)
    const made = await berth.fetch('/berth/v1/keys', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name":"k"}',
    })
    const key = z.object({ id: z.string(), key: z.string() }).parse(await made.json())
    expect((await as(key.key)).status).toBe(200)
    await berth.fetch(`/berth/v1/keys/${key.id}/revoke`, { method: 'POST' })
    expect((await as(key.key)).status).toBe(401)
    await berth.client.beta.sessions.archive(id)
    expect((await as(berth.server.apiKey)).status).toBe(409)
    expect((await askPort(url)).status).toBe(409)
    await expect(signPort(berth, id, 8000)).rejects.toThrow(/409.*archived/)
    const { id: fresh } = await berth.createSession()
    await expect(signPort(berth, fresh, 8000)).rejects.toThrow(/409.*has no sandbox now; send it a message first/)
  })

  story('under any other name; and the API is refused under a port’s', async ({ berth }) => {
    const id = await serving(berth)
    const { url } = await signPort(berth, id, 8000)
    const authorization = `Bearer ${berth.server.apiKey}`
    const { host, port } = new URL(url)
    for (const name of [`127.0.0.1:${port}`, `localhost:${port}`, host.replace('8000', '08000'), `x.${host}`, '']) {
      const answer = await askPort(withPath(url, '/v1/sessions'), { headers: { host: name, authorization } })
      expect(answer).toMatchObject({ status: 400, body: 'Host: names no port of a session\n' })
    }
    const api = new URL(berth.server.url).port
    const onApi = await askPort(`http://127.0.0.1:${api}/v1/sessions`, { headers: { host, authorization } })
    expect(onApi.status).toBe(403)
    const own = await askPort(`${bare(url)}/v1/sessions`, { headers: { authorization } })
    expect(echo.parse(JSON.parse(own.body)).url).toBe('/v1/sessions')
  })
})

it('a signed URL outlives the server', async () => {
  const port = await freePort()
  await using berth = await startKillableBerth({ env: { BERTH_PORTS_LISTEN: `127.0.0.1:${port}` } })
  const id = await serving(berth)
  const { url } = await signPort(berth, id, 8000)
  expect((await askPort(url)).status).toBe(200)
  await berth.server.restart()
  expect((await askPort(url)).status).toBe(200)
  await berth.assertClean()
})
