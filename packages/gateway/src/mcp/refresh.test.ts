import { access, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { McpCredential } from '@berth/protocol/gateway-vault'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { oauth, type OauthGiven } from '../fixture/mcp-credentials.ts'
import { type McpWorld, openMcpWorld, serverUrl } from '../fixture/mcp-world.ts'
import { type HostAnswer, hostsAddress, json } from '../fixture/tls-hosts.ts'

let world: McpWorld
/** Tokens that the MCP server takes. */
const good = new Set<string>()
beforeAll(async () => {
  const zone = (name: string) => [name === 'inside.test' ? '169.254.169.254' : hostsAddress]
  world = await openMcpWorld({ names: ['mcp.test', 'auth.test', 'inside.test'], zone })
  world.hosts.answer('mcp.test', (response, received) => {
    const token = received.headers.authorization?.replace('Bearer ', '') ?? ''
    return json({ ok: true }, good.has(token) ? 200 : 401)(response, received)
  })
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => {
  good.clear()
  world.hosts.received.length = 0
})

const PAST = '2020-01-01T00:00:00Z'
const put = (...credentials: McpCredential[]) => world.vaults.put('v1', { workspace_id: 'ws', credentials })
/** What was refreshed of one version is nothing to the next. */
let version = 0
const give = (given: Partial<OauthGiven> = {}) =>
  put(oauth({ sealing: world.sealing, version: ++version }, { url: serverUrl, access: 'access-one', ...given }))
const soon = () => new Date(world.parts.now().getTime() + 50_000).toISOString()
const of = (host: string) => world.hosts.received.filter((received) => received.host === host)
const forms = () => of('auth.test').map(({ body }) => Object.fromEntries(new URLSearchParams(body)))
const sent = () => of('mcp.test').map(({ headers }) => headers.authorization)
const post = async () => {
  const { status, headers, text } = await world.post()
  return { status, fault: headers['x-berth-mcp-error'], text }
}
const authentication = { status: 401, fault: 'authentication' }

/** Gives `access-2`, `access-3`, … which the server takes, and as many refresh tokens. */
function rotating(more: object = { expires_in: 3600 }): HostAnswer {
  let count = 1
  return (response, received) => {
    const token = `access-${++count}`
    good.add(token)
    const body = { access_token: token, token_type: 'Bearer', refresh_token: `refresh-${count}`, ...more }
    return json(body)(response, received)
  }
}

/** The same, but for the time that the endpoint takes: it answers from the call of what is returned on. */
function rotatingLater(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  const answer = rotating()
  world.hosts.answer('auth.test', async (response, received) => {
    await promise
    await answer(response, received)
  })
  return resolve
}

describe('a token that is refreshed', () => {
  test('before it ends, once, and then kept until the next is due', async () => {
    await give({
      expires_at: soon(),
      terms: { scope: 'a b', resource: serverUrl },
    })
    world.hosts.answer('auth.test', rotating())
    expect(await post()).toMatchObject({ status: 200 })
    expect(await post()).toMatchObject({ status: 200 })
    const common = { grant_type: 'refresh_token', scope: 'a b', resource: serverUrl, client_id: 'client' }
    expect(forms()).toEqual([{ ...common, refresh_token: 'refresh-one' }])
    world.advance(3_600_000)
    expect(await post()).toMatchObject({ status: 200 })
    // With the one that was given instead of the first.
    expect(forms()[1]).toEqual({ ...common, refresh_token: 'refresh-2' })
    expect(sent()).toEqual(['Bearer access-2', 'Bearer access-2', 'Bearer access-3'])
  })

  test('when the server refuses it: the request is made again, once', async () => {
    await give()
    world.hosts.answer('auth.test', rotating({ refresh_token: undefined }))
    expect(await post()).toMatchObject({ status: 200, text: '{"ok":true}' })
    expect(sent()).toEqual(['Bearer access-one', 'Bearer access-2'])
    expect(of('mcp.test').map(({ body }) => body)).toEqual(['{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0"}'])
    world.advance(60_000)
    good.clear()
    expect(await post()).toMatchObject({ status: 200 })
    // No other was given: the first goes on.
    expect(forms().map(({ refresh_token }) => refresh_token)).toEqual(['refresh-one', 'refresh-one'])
  })

  test('for ten requests at once, once', async () => {
    await give({ expires_at: PAST })
    const release = rotatingLater()
    const all = Array.from({ length: 10 }, post)
    await expect.poll(() => of('auth.test').length).toBe(1)
    release()
    expect((await Promise.all(all)).map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200))
    expect(of('auth.test')).toHaveLength(1)
    expect(new Set(sent())).toEqual(new Set(['Bearer access-2']))
  })

  test('for ten requests that are refused at once, once', async () => {
    await give()
    world.hosts.answer('auth.test', rotating())
    const all = await Promise.all(Array.from({ length: 10 }, post))
    expect(all.every(({ status }) => status === 200)).toBe(true)
    expect(of('auth.test')).toHaveLength(1)
  })

  test.each([
    ['client_secret_basic' as const, `Basic ${Buffer.from('client:s%2Becret').toString('base64')}`, {}],
    ['client_secret_post' as const, undefined, { client_id: 'client', client_secret: 's+ecret' }],
    ['none' as const, undefined, { client_id: 'client' }],
  ])('with the client named by %s', async (method, header, fields) => {
    await give({ expires_at: PAST, secret: 's+ecret', terms: { token_endpoint_auth: method } })
    world.hosts.answer('auth.test', rotating())
    expect(await post()).toMatchObject({ status: 200 })
    expect(of('auth.test')[0]?.headers).toMatchObject({ 'content-type': 'application/x-www-form-urlencoded' })
    expect(of('auth.test')[0]?.headers.authorization).toBe(header)
    expect(forms()).toEqual([{ grant_type: 'refresh_token', refresh_token: 'refresh-one', ...fields }])
  })
})

describe('what was refreshed', () => {
  const file = () => join(world.state, 'oauth', 'vcrd_1.json')

  test('lies sealed on disk, and goes with the credential or its version', async () => {
    await give({ expires_at: PAST })
    world.hosts.answer('auth.test', rotating())
    await post()
    const text = await readFile(file(), 'utf8')
    expect(text).not.toMatch(/access-|refresh-/)
    // The owner has put in other tokens: those hold.
    good.add('access-new')
    await give({ access: 'access-new' })
    expect(await post()).toMatchObject({ status: 200 })
    expect(sent().at(-1)).toBe('Bearer access-new')
    await world.parts.tokens.forgetOthers()
    await expect(access(file())).rejects.toThrow('ENOENT')
    world.hosts.answer('auth.test', rotating())
    await give({ expires_at: PAST })
    await post()
    await access(file())
    await world.vaults.remove('v1')
    await world.parts.tokens.forgetOthers()
    expect(await readdir(join(world.state, 'oauth'))).toEqual([])
  })

  test('is not kept for a credential that went meanwhile', async () => {
    await give({ expires_at: PAST })
    const asked = Promise.withResolvers<void>()
    const release = Promise.withResolvers<void>()
    const answer = rotating()
    world.hosts.answer('auth.test', async (response, received) => {
      asked.resolve()
      await release.promise
      await answer(response, received)
    })
    const posted = post()
    await asked.promise
    await world.vaults.remove('v1')
    release.resolve()
    await posted
    expect(await readdir(join(world.state, 'oauth'))).toEqual([])
  })
})

describe('a refresh that fails', () => {
  const answers: [string, HostAnswer][] = [
    ['a refusal', json({ error: 'invalid_grant' }, 400)],
    ['a redirect', (response) => void response.writeHead(307, { location: 'https://inside.test/' }).end()],
    ['no JSON', (response) => void response.end('access_token=x')],
    ['no token', json({ token_type: 'Bearer' })],
    ['another kind of token', json({ access_token: 'x', token_type: 'mac' })],
    ['a token that is no header', json({ access_token: 'x\r\ny: z' })],
    ['a long answer', json({ access_token: 'x', more: 'y'.repeat(70_000) })],
    ['a cut answer', (response) => void response.writeHead(200, { 'content-length': 100 }).end('{"access_token":"x"}')],
    ['no answer', (response) => void response.socket?.destroy()],
  ]

  test.each(answers)('with %s: it is said, and not tried again at once', async (_name, answer) => {
    await give({ expires_at: PAST })
    world.hosts.answer('auth.test', answer)
    expect(await post()).toMatchObject(authentication)
    const asked = of('auth.test').length
    expect(await post()).toMatchObject(authentication)
    expect([of('auth.test').length, asked]).toEqual([1, 1])
    expect(sent()).toEqual([])
    world.advance(31_000)
    world.hosts.answer('auth.test', rotating())
    expect(await post()).toMatchObject({ status: 200 })
    expect(of('auth.test')).toHaveLength(2)
  })

  test('does not stand in the way of a token that has not ended', async () => {
    good.add('access-one')
    await give({ expires_at: soon() })
    world.hosts.answer('auth.test', json({ error: 'temporarily_unavailable' }, 503))
    expect(await post()).toMatchObject({ status: 200 })
    expect(sent()).toEqual(['Bearer access-one'])
  })

  test('is forgotten for another version of the credential', async () => {
    await give({ expires_at: PAST })
    world.hosts.answer('auth.test', json({}, 400))
    expect(await post()).toMatchObject(authentication)
    good.add('access-new')
    await give({ access: 'access-new' })
    expect(await post()).toMatchObject({ status: 200 })
  })

  test('without anything to refresh with, the server’s refusal is the answer', async () => {
    await give({ refresh: null })
    expect(await post()).toMatchObject(authentication)
    await give({ refresh: null, expires_at: PAST })
    expect(await post()).toMatchObject(authentication)
    expect(sent()).toEqual(['Bearer access-one', 'Bearer access-one'])
    expect(of('auth.test')).toEqual([])
  })
})

test('a server that refuses every token does not get the token endpoint asked for ever', async () => {
  await give()
  world.hosts.answer('auth.test', json({ access_token: 'never-good', refresh_token: 'r' }))
  expect(await post()).toMatchObject(authentication)
  expect(await post()).toMatchObject(authentication)
  expect(await post()).toMatchObject(authentication)
  expect(of('auth.test')).toHaveLength(1)
})

test('a clock that is put back does not keep a token from being refreshed', async () => {
  await give({ expires_at: PAST })
  world.hosts.answer('auth.test', rotating({}))
  expect(await post()).toMatchObject({ status: 200 })
  good.clear()
  expect(await post()).toMatchObject(authentication)
  world.advance(-86_400_000)
  expect(await post()).toMatchObject({ status: 200 })
  world.hosts.answer('auth.test', json({}, 500))
  await give({ expires_at: PAST })
  expect(await post()).toMatchObject(authentication)
  world.advance(-86_400_000)
  world.hosts.answer('auth.test', rotating())
  expect(await post()).toMatchObject({ status: 200 })
})

test('so does one whose tokens have ended when they are given', async () => {
  await give({ expires_at: PAST })
  world.hosts.answer('auth.test', rotating({ expires_in: 0 }))
  for (let n = 0; n < 3; n++) expect(await post()).toMatchObject({ status: 200 })
  expect(of('auth.test')).toHaveLength(1)
})

test.each([
  'https://inside.test/token',
  'https://127.0.0.1/token',
  'http://auth.test/token',
  'https://localhost/token',
])('a token endpoint at %s is not asked', async (token_endpoint) => {
  await give({ expires_at: PAST, terms: { token_endpoint } })
  expect(await post()).toMatchObject(authentication)
  expect(world.hosts.received).toEqual([])
})

test('a session that ends does not wait for a token endpoint, whose answer is kept all the same', async () => {
  await give({ expires_at: PAST })
  const release = rotatingLater()
  const cut = post()
  await expect.poll(() => of('auth.test').length).toBe(1)
  world.change({ servers: [] })
  expect(await cut).toMatchObject({ status: 503, fault: 'connection' })
  world.change({})
  release()
  expect(await post()).toMatchObject({ status: 200 })
  expect(of('auth.test')).toHaveLength(1)
})

test('a client that goes does not end the refresh that others wait for', async () => {
  await give({ expires_at: PAST })
  const release = rotatingLater()
  const leaving = new AbortController()
  const left = world.open({ signal: leaving.signal }).catch(() => 'left')
  await expect.poll(() => of('auth.test').length).toBe(1)
  const staying = post()
  leaving.abort()
  expect(await left).toBe('left')
  release()
  expect(await staying).toMatchObject({ status: 200 })
  expect(of('auth.test')).toHaveLength(1)
})
