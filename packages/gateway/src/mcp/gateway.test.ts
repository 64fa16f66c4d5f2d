import { randomBytes } from 'node:crypto'
import { lstat, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { McpCredential } from '@berth/protocol/gateway-vault'
import { Sealing } from '@berth/protocol/sealing'
import { expect, test } from 'vitest'
import { makeCertificates } from '../fixture/certificates.ts'
import { bearer, oauth } from '../fixture/mcp-credentials.ts'
import { makeRoute, runGateway, temporary } from '../fixture/running-gateway.ts'
import { call } from '../fixture/sandbox-call.ts'
import { startStubDns } from '../fixture/stub-dns.ts'
import { hostsAddress, json, startTlsHosts } from '../fixture/tls-hosts.ts'

const url = 'https://mcp.test/mcp'

async function prepare() {
  await using opened = new AsyncDisposableStack()
  const { path: dir } = opened.use(await temporary())
  const certificates = await makeCertificates(dir, ['mcp.test', 'auth.test'])
  const hosts = opened.use(await startTlsHosts(certificates))
  const dns = opened.use(await startStubDns(() => [hostsAddress]))
  const key = randomBytes(32)
  await writeFile(join(dir, 'vault.key'), key.toString('base64'), { mode: 0o600 })
  const env = {
    ANTHROPIC_API_KEY: 'k',
    BERTH_VAULT_KEY_FILE: join(dir, 'vault.key'),
    BERTH_EGRESS_DNS: dns.server,
    BERTH_EGRESS_NETWORKS: hostsAddress,
    BERTH_EGRESS_CA_FILE: certificates.ca,
  }
  const owned = opened.move()
  return { dir, hosts, sealing: new Sealing(key), env, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const vault = (...credentials: McpCredential[]) => ({ workspace_id: 'ws', credentials })
const mcpRoute = (socket_path: string) => ({
  socket_path,
  owner_uid: process.getuid?.() ?? 0,
  policy: { type: 'limited' as const, hosts: ['mcp.test'] },
  servers: [{ name: 'server', url }],
})

test('refreshed tokens outlive a gateway that is killed, and go with their credential', async () => {
  await using at = await prepare()
  const state = join(at.dir, 'state')
  at.hosts.answer('mcp.test', (response, received) =>
    json({}, received.headers.authorization === 'Bearer access-2' ? 200 : 401)(response, received),
  )
  at.hosts.answer('auth.test', json({ access_token: 'access-2', refresh_token: 'refresh-2', expires_in: 3600 }))
  const given = { url, access: 'access-one', secret: 'client-secret' }
  const socket = join(at.dir, 's', 'mcp.sock')
  const post = () => call({ socket, path: '/server', body: '{}' })
  const asked = () => at.hosts.received.filter(({ host }) => host === 'auth.test').length
  {
    await using gateway = await runGateway(state, at.env)
    const route = await makeRoute(at.dir, 's', { vaults: ['v1'], mcp: mcpRoute(socket) })
    await gateway.client.putVault('v1', vault(oauth({ sealing: at.sealing }, given)))
    await gateway.client.route('sesn_1', route)
    expect((await lstat(socket)).mode & 0o777).toBe(0o600)
    expect((await post()).status).toBe(200)
    await gateway.kill('SIGKILL')
  }
  {
    await using gateway = await runGateway(state, at.env)
    expect((await post()).status).toBe(200)
    expect(asked()).toBe(1)
    expect(at.hosts.received.at(-1)?.headers.authorization).toBe('Bearer access-2')
    expect(await gateway.client.validateCredential('v1', 'vcrd_1')).toMatchObject({ status: 'valid' })
    await expect(gateway.client.validateCredential('v1', 'vcrd_2')).rejects.toMatchObject({ code: 'not_found' })
    // The same credential, pushed again: what it was refreshed to stays. Another version: it goes.
    await gateway.client.putVault('v1', vault(oauth({ sealing: at.sealing }, given)))
    expect(await readdir(join(state, 'oauth'))).toEqual(['vcrd_1.json'])
    await gateway.client.putVault('v1', vault(oauth({ sealing: at.sealing, version: 2 }, given)))
    expect(await readdir(join(state, 'oauth'))).toEqual([])
    expect((await post()).status).toBe(200)
    await gateway.client.removeVault('v1')
    expect(await readdir(join(state, 'oauth'))).toEqual([])
    expect((await post()).headers['x-berth-mcp-error']).toBe('authentication')
    expect(gateway.output()).not.toMatch(/access-|refresh-|client-secret/)
  }
})

test('a session’s socket comes, moves and goes with its route', async () => {
  await using at = await prepare()
  at.hosts.answer('mcp.test', json({ ok: true }))
  await using gateway = await runGateway(join(at.dir, 'state'), at.env)
  const one = join(at.dir, 's', 'one.sock')
  const other = join(at.dir, 's', 'other.sock')
  const route = await makeRoute(at.dir, 's')
  const isThere = (path: string) =>
    lstat(path).then(
      () => true,
      () => false,
    )
  await gateway.client.route('sesn_1', route)
  await gateway.client.route('sesn_1', { ...route, mcp: mcpRoute(one) })
  expect((await call({ socket: one, path: '/server' })).status).toBe(200)
  const { decisions } = await gateway.client.egress('sesn_1', { before: undefined, limit: 1 })
  expect(decisions[0]).toMatchObject({ protocol: 'mcp', host: 'mcp.test', port: 443, decision: 'allow' })
  await gateway.client.route('sesn_1', { ...route, mcp: mcpRoute(other) })
  expect((await call({ socket: other, path: '/server' })).status).toBe(200)
  await expect.poll(() => isThere(one)).toBe(false)
  // A change that needs no other socket keeps this one, with a vault that the session has from now on.
  await gateway.client.putVault('v1', vault(bearer({ sealing: at.sealing }, url, 'token-one')))
  const { ino } = await lstat(other)
  await gateway.client.route('sesn_1', { ...route, vaults: ['v1'], mcp: mcpRoute(other) })
  expect((await call({ socket: other, path: '/server' })).status).toBe(200)
  expect(at.hosts.received.at(-1)?.headers.authorization).toBe('Bearer token-one')
  expect((await lstat(other)).ino).toBe(ino)
  await gateway.client.route('sesn_1', route)
  await expect.poll(() => isThere(other)).toBe(false)
  await gateway.client.route('sesn_1', { ...route, mcp: mcpRoute(other) })
  await gateway.client.unroute('sesn_1')
  expect(await isThere(other)).toBe(false)
})
