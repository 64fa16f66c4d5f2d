import type { CredentialValidation, GatewayVault } from '@berth/protocol/gateway-vault'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { bearer, oauth } from '../fixture/mcp-credentials.ts'
import { type McpWorld, openMcpWorld, serverUrl } from '../fixture/mcp-world.ts'
import { hostsAddress, json } from '../fixture/tls-hosts.ts'
import { validateCredential } from './validate.ts'

let world: McpWorld
beforeAll(async () => {
  const zone = (name: string) => [name === 'inside.test' ? '127.0.0.1' : hostsAddress]
  world = await openMcpWorld({ names: ['mcp.test', 'auth.test', 'inside.test'], zone })
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => void (world.hosts.received.length = 0))

async function validate(credential: GatewayVault['credentials'][number]): Promise<CredentialValidation> {
  await world.vaults.put('v1', { workspace_id: 'ws', credentials: [credential] })
  const held = world.vaults.find('v1', credential.id)
  if (held === undefined || held.credential.type === 'environment_variable') throw new Error('there is none')
  const parts = { tokens: world.parts.tokens, reach: world.parts, version: '1.0.0' }
  return await validateCredential(parts, { ...held, credential: held.credential })
}
let version = 0
const static_bearer = (url = serverUrl) => bearer({ sealing: world.sealing }, url, 'canary-access')
const mcp_oauth = (given: Partial<Parameters<typeof oauth>[1]> = {}) =>
  oauth(
    { sealing: world.sealing, version: ++version },
    { url: serverUrl, access: 'canary-access', refresh: 'canary-refresh', ...given },
  )
const nothing = { mcp_probe: null, refresh: null }
const probed = (http_response: object | null) => ({ method: 'initialize', http_response })

test('a token that the server takes is valid, whatever it says besides', async () => {
  world.hosts.answer('mcp.test', (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': never ends\n\n')
  })
  expect(await validate(static_bearer())).toEqual({ status: 'valid', has_refresh_token: false, ...nothing })
  expect(await validate(mcp_oauth())).toEqual({ status: 'valid', has_refresh_token: true, ...nothing })
  const [received] = world.hosts.received
  expect(received?.headers).toMatchObject({ authorization: 'Bearer canary-access', 'content-type': 'application/json' })
  expect(JSON.parse(received?.body ?? '')).toMatchObject({
    method: 'initialize',
    params: { clientInfo: { name: 'berth', version: '1.0.0' } },
  })
})

test('one that it refuses is invalid; what it said is shown cut and without secrets', async () => {
  const text = `${'x'.repeat(2000)} canary-access canary-refresh ${'y'.repeat(100_000)}`
  world.hosts.answer('mcp.test', (response) => {
    response.writeHead(403, { 'content-type': 'text/plain; a=canary-access' }).end(text)
  })
  const { status, mcp_probe, refresh } = await validate(mcp_oauth())
  expect([status, refresh]).toEqual(['invalid', null])
  expect(mcp_probe).toEqual(
    probed({
      status: 403,
      content_type: 'text/plain; a=[redacted]',
      body: `${'x'.repeat(2000)} [redacted] [redacted] ${'y'.repeat(2048 - 2000 - 23)}`,
      body_truncated: true,
    }),
  )
})

test('what is neither is unknown: another status, a redirect, no answer, an address that may not be dialled', async () => {
  for (const status of [404, 500, 302]) {
    world.hosts.answer('mcp.test', json({ why: 1 }, status, { location: 'https://inside.test/' }))
    expect(await validate(static_bearer())).toMatchObject({
      status: 'unknown',
      mcp_probe: { http_response: { status } },
    })
  }
  world.hosts.answer('mcp.test', (response) => void response.socket?.destroy())
  const unknown = { status: 'unknown', has_refresh_token: false, mcp_probe: probed(null), refresh: null }
  expect(await validate(static_bearer())).toEqual(unknown)
  expect(await validate(static_bearer('https://inside.test/mcp'))).toEqual(unknown)
})

test('one that is refused is refreshed, once, and kept', async () => {
  world.hosts.answer('mcp.test', (response, received) =>
    json({}, received.headers.authorization === 'Bearer canary-2' ? 200 : 401)(response, received),
  )
  world.hosts.answer('auth.test', json({ access_token: 'canary-2', refresh_token: 'canary-3' }))
  const refreshed = { status: 'succeeded', http_response: null }
  expect(await validate(mcp_oauth())).toEqual({
    status: 'valid',
    has_refresh_token: true,
    mcp_probe: null,
    refresh: refreshed,
  })
  expect((await world.post()).status).toBe(200)
  expect(world.hosts.received.filter(({ host }) => host === 'auth.test')).toHaveLength(1)
})

test('a refresh that does not help is told', async () => {
  world.hosts.answer('mcp.test', json({ echo: 'canary-access' }, 401))
  const refused = probed({
    status: 401,
    content_type: 'application/json',
    body: '{"echo":"[redacted]"}',
    body_truncated: false,
  })
  world.hosts.answer('auth.test', (response, received) =>
    json({ error: 'invalid_grant', error_description: received.body }, 400)(response, received),
  )
  const secret = mcp_oauth({ secret: 'canary secret', terms: { token_endpoint_auth: 'client_secret_post' } })
  const failed = await validate(secret)
  expect(failed).toMatchObject({ status: 'invalid', mcp_probe: refused, refresh: { status: 'failed' } })
  expect(failed.refresh?.http_response?.status).toBe(400)
  expect(JSON.stringify(failed)).not.toMatch(/canary/)
  // Said to have gone well, but not so that it can be used: its body may hold tokens.
  world.hosts.answer('auth.test', json({ accessToken: 'canary-new' }))
  const useless = await validate(mcp_oauth())
  expect(useless.refresh).toMatchObject({ status: 'failed', http_response: { status: 200, body: '' } })
  const none = await validate(mcp_oauth({ refresh: null }))
  expect(none).toMatchObject({
    status: 'invalid',
    has_refresh_token: false,
    refresh: { status: 'no_refresh_token', http_response: null },
  })
  const unreached = await validate(mcp_oauth({ terms: { token_endpoint: 'https://inside.test/token' } }))
  expect(unreached).toMatchObject({ status: 'unknown', refresh: { status: 'connect_error', http_response: null } })
})

test('one that does not open is invalid', async () => {
  const foreign = bearer({ sealing: world.sealing, vaultId: 'v9' }, serverUrl, 'canary-access')
  expect(await validate(foreign)).toEqual({ status: 'invalid', has_refresh_token: false, ...nothing })
})
