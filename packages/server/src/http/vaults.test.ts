/** Vaults and their credentials through the official client. */
import Anthropic, { APIError } from '@anthropic-ai/sdk'
import { readFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { credentialSecrets, sealingContext } from '@berth/protocol/gateway-vault'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testSealing } from '../../test/directories.ts'
import { clientOf, serveApp, type TestServer } from '../../test/serve-app.ts'
import { VaultGateway } from '../../test/vault-gateway.ts'

const gateway = new VaultGateway()
let server: TestServer
let vaults: Anthropic.Beta.Vaults
beforeAll(async () => {
  server = await serveApp({}, { gateway: gateway.client })
  vaults = server.client.beta.vaults
})
afterAll(() => server[Symbol.asyncDispose]())

const CANARY = 'canary-0f3b8a51e7'
const newVault = async () => (await vaults.create({ display_name: 'Ada' })).id

const variable = (given: Partial<Anthropic.Beta.Vaults.BetaManagedAgentsEnvironmentVariableCreateParams> = {}) => ({
  type: 'environment_variable' as const,
  secret_name: 'TOKEN',
  secret_value: `${CANARY}-1`,
  networking: { type: 'limited' as const, allowed_hosts: ['API.Example.com', '*.bücher.example'] },
  ...given,
})

const oauth = (given: object = {}) => ({
  type: 'mcp_oauth' as const,
  mcp_server_url: 'https://MCP.example.com:443/mcp/',
  access_token: `${CANARY}-access`,
  refresh: {
    client_id: 'client',
    refresh_token: `${CANARY}-refresh`,
    token_endpoint: 'https://auth.example.com/token/',
    token_endpoint_auth: { type: 'client_secret_basic' as const, client_secret: `${CANARY}-client` },
  },
  ...given,
})

/** The first credential that the gateway has of the vault, opened. */
function secretsAt(vaultId: string, type: keyof typeof credentialSecrets): unknown {
  const vault = gateway.vaults.get(vaultId)
  const credential = vault?.credentials[0]
  if (vault === undefined || credential === undefined) return undefined
  const { id: credentialId, version, sealed } = credential
  const context = sealingContext({ workspaceId: vault.workspace_id, vaultId, credentialId, version })
  return credentialSecrets[type].parse(JSON.parse(testSealing.open(sealed, context)))
}

async function refusal(promise: Promise<unknown>): Promise<APIError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof APIError) return error
  throw new Error('it was not refused', { cause: error })
}

describe('vaults', () => {
  test('are made, shown, changed, listed, archived and deleted', async () => {
    const made = await vaults.create({ display_name: 'Ada', metadata: { user: '1' } })
    expect(made).toMatchObject({ type: 'vault', display_name: 'Ada', metadata: { user: '1' }, archived_at: null })
    expect(made.id).toMatch(/^vlt_/)
    expect(await vaults.retrieve(made.id)).toEqual(made)
    const changed = await vaults.update(made.id, { display_name: null, metadata: { user: null, team: 'x' } })
    expect(changed).toMatchObject({ display_name: 'Ada', metadata: { team: 'x' } })
    expect((await vaults.update(made.id, { display_name: 'Bea' })).display_name).toBe('Bea')
    const archived = await vaults.archive(made.id)
    expect(archived.archived_at).not.toBeNull()
    expect(await vaults.archive(made.id)).toEqual(archived)
    expect((await refusal(vaults.update(made.id, { display_name: 'C' }))).status).toBe(400)
    const listed = async (params: Anthropic.Beta.Vaults.VaultListParams) =>
      (await vaults.list(params)).data.map(({ id }) => id)
    expect(await listed({})).not.toContain(made.id)
    expect(await listed({ include_archived: true })).toContain(made.id)
    expect(await vaults.delete(made.id)).toEqual({ id: made.id, type: 'vault_deleted' })
    expect((await refusal(vaults.retrieve(made.id))).status).toBe(404)
  })

  test('are listed newest first, in pages, and are another workspace’s never', async () => {
    const ids = [await newVault(), await newVault(), await newVault()]
    const seen: string[] = []
    for await (const { id } of vaults.list({ limit: 2 })) seen.push(id)
    expect(seen.slice(0, 3)).toEqual(ids.toReversed())
    const other = clientOf(server.url, await server.otherWorkspaceKey()).beta.vaults
    expect((await other.list()).data).toEqual([])
    const [id = ''] = ids
    const auth = variable()
    const strange = [
      other.retrieve(id),
      other.update(id, {}),
      other.archive(id),
      other.delete(id),
      other.credentials.create(id, { auth }),
      other.credentials.list(id),
    ]
    for (const one of await Promise.all(strange.map(refusal))) expect(one.status).toBe(404)
    expect((await vaults.retrieve(id)).archived_at).toBeNull()
  })

  test('an archived one has no secrets any more, at the gateway neither', async () => {
    const id = await newVault()
    const { id: credentialId } = await vaults.credentials.create(id, { auth: variable() })
    expect(gateway.vaults.has(id)).toBe(true)
    await vaults.archive(id)
    expect(gateway.vaults.has(id)).toBe(false)
    const credential = await vaults.credentials.retrieve(credentialId, { vault_id: id })
    expect(credential.archived_at).not.toBeNull()
    const more = await refusal(vaults.credentials.create(id, { auth: variable({ secret_name: 'OTHER' }) }))
    expect([more.status, more.message]).toEqual([400, expect.stringContaining('is archived')])
  })
})

describe('credentials', () => {
  test('of a variable: what is shown has no secret, what the gateway is told has it sealed', async () => {
    const vault_id = await newVault()
    const made = await vaults.credentials.create(vault_id, { auth: variable(), display_name: 'Key' })
    expect(made).toMatchObject({ type: 'vault_credential', vault_id, display_name: 'Key', metadata: {} })
    expect(made.id).toMatch(/^vcrd_/)
    expect(made.auth).toEqual({
      type: 'environment_variable',
      secret_name: 'TOKEN',
      networking: { type: 'limited', allowed_hosts: ['api.example.com', '*.xn--bcher-kva.example'] },
      injection_location: { header: true, body: true },
    })
    expect(await vaults.credentials.retrieve(made.id, { vault_id })).toEqual(made)
    expect(gateway.vaults.get(vault_id)).toMatchObject({
      workspace_id: 'wrkspc_test',
      credentials: [{ id: made.id, version: 1, hosts: ['api.example.com', '*.xn--bcher-kva.example'] }],
    })
    expect(secretsAt(vault_id, 'environment_variable')).toEqual({ secret_value: `${CANARY}-1` })

    const auth = { type: 'environment_variable' as const, secret_value: `${CANARY}-2` }
    const changed = await vaults.credentials.update(made.id, { vault_id, auth, display_name: null })
    expect(changed).toMatchObject({ display_name: null, auth: made.auth })
    expect(gateway.vaults.get(vault_id)?.credentials[0]?.version).toBe(2)
    expect(secretsAt(vault_id, 'environment_variable')).toEqual({ secret_value: `${CANARY}-2` })

    const narrowed = await vaults.credentials.update(made.id, {
      vault_id,
      auth: { type: 'environment_variable', injection_location: { header: false } },
    })
    expect(narrowed.auth).toMatchObject({ injection_location: { header: false, body: true } })
    expect(gateway.vaults.get(vault_id)?.credentials[0]).toMatchObject({ version: 2, injection: { header: false } })
  })

  test('of MCP servers: secrets are changed one by one, and the rest stays', async () => {
    const vault_id = await newVault()
    const made = await vaults.credentials.create(vault_id, { auth: oauth({ expires_at: '2999-01-01T02:00:00+02:00' }) })
    const refresh = {
      client_id: 'client',
      token_endpoint: 'https://auth.example.com/token/',
      token_endpoint_auth: { type: 'client_secret_basic' },
      resource: null,
      scope: null,
    }
    const shown = { type: 'mcp_oauth', mcp_server_url: 'https://mcp.example.com/mcp', refresh }
    expect(made.auth).toEqual({ ...shown, expires_at: '2999-01-01T00:00:00.000Z' })
    const changed = await vaults.credentials.update(made.id, {
      vault_id,
      auth: {
        type: 'mcp_oauth',
        access_token: `${CANARY}-new`,
        expires_at: null,
        refresh: { scope: 'read', token_endpoint_auth: { type: 'client_secret_post', client_secret: 'other' } },
      },
    })
    expect(changed.auth).toEqual({ ...shown, expires_at: null, refresh: { ...refresh, scope: 'read' } })
    expect(secretsAt(vault_id, 'mcp_oauth')).toEqual({
      access_token: `${CANARY}-new`,
      refresh_token: `${CANARY}-refresh`,
      client_secret: 'other',
    })
    const bearer = { type: 'static_bearer' as const, token: 'x', mcp_server_url: 'https://mcp.example.com/mcp' }
    const twin = await refusal(vaults.credentials.create(vault_id, { auth: bearer }))
    expect([twin.status, twin.headers?.get('x-should-retry')]).toEqual([409, 'false'])
    expect(twin.message).toContain(`auth.mcp_server_url: https://mcp.example.com/mcp has a credential`)
    const other = await vaults.credentials.create(vault_id, {
      auth: { ...bearer, mcp_server_url: 'https://b.example' },
    })
    const wrong = vaults.credentials.update(other.id, { vault_id, auth: { type: 'mcp_oauth', access_token: 'y' } })
    expect((await refusal(wrong)).message).toContain('auth.type: is static_bearer')
  })

  test('an archived one is withdrawn at once, and frees its key', async () => {
    const vault_id = await newVault()
    const { id } = await vaults.credentials.create(vault_id, { auth: variable() })
    const twin = await refusal(vaults.credentials.create(vault_id, { auth: variable() }))
    expect([twin.status, twin.headers?.get('x-should-retry')]).toEqual([409, 'false'])
    const archived = await vaults.credentials.archive(id, { vault_id })
    expect(archived.archived_at).not.toBeNull()
    expect(gateway.vaults.has(vault_id)).toBe(false)
    expect(await vaults.credentials.archive(id, { vault_id })).toEqual(archived)
    expect((await refusal(vaults.credentials.update(id, { vault_id }))).status).toBe(400)
    const next = await vaults.credentials.create(vault_id, { auth: variable() })
    const listed = async (include_archived: boolean) =>
      (await vaults.credentials.list(vault_id, { include_archived })).data.map((each) => each.id)
    expect(await listed(false)).toEqual([next.id])
    expect(await listed(true)).toEqual([next.id, id])
    const gone = await vaults.credentials.delete(next.id, { vault_id })
    expect(gone).toEqual({ id: next.id, type: 'vault_credential_deleted' })
    expect(gateway.vaults.has(vault_id)).toBe(false)
    expect((await refusal(vaults.credentials.retrieve(next.id, { vault_id }))).status).toBe(404)
  })

  test('at most 20 are active', async () => {
    const vault_id = await newVault()
    const add = (n: number) => vaults.credentials.create(vault_id, { auth: variable({ secret_name: `T${n}` }) })
    for (let n = 0; n < 20; n++) await add(n)
    expect((await refusal(add(20))).message).toContain('has 20 credentials')
  })

  test.each([
    ['auth.networking: unrestricted is refused', variable({ networking: { type: 'unrestricted' } })],
    ...['*', 'a.*.example', '192.0.2.1', 'a.example:443', 'a.example/x', 'https://a.example', '', 'localhost'].map(
      (host) => ['auth.networking.allowed_hosts.1: ', variable(hosts('a.example', host))] as const,
    ),
    ['auth.networking.allowed_hosts: must name a host', variable(hosts())],
    [
      'auth.networking.allowed_hosts: must have at most 16',
      variable(hosts(...Array.from({ length: 17 }, (_, n) => `h${n}.example`))),
    ],
    ...['PATH', 'ld_preload', 'http_proxy', 'ANTHROPIC_API_KEY', 'BERTH_OUTPUTS', 'SSL_CERT_FILE', '__proto__'].map(
      (secret_name) => ['auth.secret_name: ', variable({ secret_name })] as const,
    ),
    ['auth.secret_name: must be the name', variable({ secret_name: 'A-B' })],
    ['auth.secret_value: has characters that a header cannot carry', variable({ secret_value: 'a\r\nx: y' })],
    ['auth.secret_value: has characters that a header cannot carry', variable({ secret_value: 'a€' })],
    ['auth.secret_value: ', variable({ secret_value: 'a\0' })],
    ['auth.injection_location: ', variable({ injection_location: { header: false } })],
    ['auth.expires_at: must be in the future', oauth({ expires_at: '2001-01-01T00:00:00Z' })],
    ['auth.mcp_server_url: must begin with https', oauth({ mcp_server_url: 'http://a.example' })],
    [
      'auth.refresh.token_endpoint: must begin with https',
      oauth({ refresh: { ...oauth().refresh, token_endpoint: 'http://a.example' } }),
    ],
    ['auth.token: ', { type: 'static_bearer' as const, mcp_server_url: 'https://a.example', token: 'a\nb' }],
    ['auth.secret: unknown field', { ...variable(), secret: 'x' }],
  ] as const)('%s…', async (message, auth) => {
    const vaultId = await newVault()
    const error = await refusal(vaults.credentials.create(vaultId, { auth }))
    expect([error.status, error.message]).toEqual([400, expect.stringContaining(message)])
    expect(error.message).not.toContain(CANARY)
    expect((await vaults.credentials.list(vaultId)).data).toEqual([])
  })

  test('a secret for bodies may hold what a header cannot, until it is to go into one', async () => {
    const vault_id = await newVault()
    const secret_value = '-----BEGIN KEY-----\nx\n'
    const { id } = await vaults.credentials.create(vault_id, {
      auth: variable({ secret_value, injection_location: { body: true } }),
    })
    const auth = { type: 'environment_variable' as const, injection_location: { header: true } }
    const error = await refusal(vaults.credentials.update(id, { vault_id, auth }))
    expect([error.status, error.message]).toEqual([400, expect.stringContaining('auth.secret_value')])
    expect(secretsAt(vault_id, 'environment_variable')).toEqual({ secret_value })
  })

  test('an OAuth credential is tried by the gateway', async () => {
    const vault_id = await newVault()
    const { id } = await vaults.credentials.create(vault_id, { auth: oauth() })
    const seen = { status: 401, body: 'no', body_truncated: false, content_type: 'text/plain' }
    gateway.validation = {
      status: 'invalid',
      has_refresh_token: true,
      mcp_probe: { method: 'initialize', http_response: seen },
      refresh: { status: 'connect_error', http_response: null },
    }
    const { status, ...rest } = seen
    expect(await vaults.credentials.mcpOAuthValidate(id, { vault_id })).toEqual({
      type: 'vault_credential_validation',
      credential_id: id,
      vault_id,
      status: 'invalid',
      has_refresh_token: true,
      mcp_probe: { method: 'initialize', http_response: { status_code: status, ...rest } },
      refresh: { status: 'connect_error', http_response: null },
      validated_at: expect.stringMatching(/Z$/),
    })
    const { id: token } = await vaults.credentials.create(vault_id, { auth: variable() })
    const wrong = await refusal(vaults.credentials.mcpOAuthValidate(token, { vault_id }))
    expect(wrong.message).toContain('is environment_variable')
  })
})

function hosts(...allowed_hosts: string[]) {
  return { networking: { type: 'limited' as const, allowed_hosts } }
}

describe('the gateway', () => {
  test('a change that it cannot be told is kept, and said to be so', async () => {
    const vaultId = await newVault()
    gateway.isAway = true
    const error = await refusal(vaults.credentials.create(vaultId, { auth: variable() }))
    expect([error.status, error.message]).toEqual([503, expect.stringContaining('the change is kept')])
    const [kept] = (await vaults.credentials.list(vaultId)).data
    expect(gateway.vaults.has(vaultId)).toBe(false)
    gateway.isAway = false
    await vaults.credentials.update(kept?.id ?? '', { vault_id: vaultId, display_name: 'x' })
    expect(secretsAt(vaultId, 'environment_variable')).toEqual({ secret_value: `${CANARY}-1` })
  })

  test('the client that tries again has made one credential, which the gateway has', async () => {
    const vaultId = await newVault()
    gateway.failures = 1
    const patient = new Anthropic({ baseURL: server.url, apiKey: server.key, maxRetries: 1 }).beta.vaults
    const made = await patient.credentials.create(vaultId, { auth: variable() })
    expect((await vaults.credentials.list(vaultId)).data).toEqual([made])
    expect(gateway.vaults.get(vaultId)?.credentials.map(({ id }) => id)).toEqual([made.id])
  })

  test('one that has something else, or too much, is put right by the next server', async () => {
    // Nothing has failed to reach it, so that its first server does not compare once more.
    const own = new VaultGateway()
    await using first = await serveApp({}, { gateway: own.client })
    const dir = first.databasePath.replace(/\/berth\.db$/, '')
    const { vaults: its } = first.client.beta
    const [kept, changed] = [await its.create({ display_name: 'Ada' }), await its.create({ display_name: 'Ada' })]
    for (const { id } of [kept, changed]) await its.credentials.create(id, { auth: variable() })
    const right = new Map(own.vaults)
    own.vaults.set(changed.id, { workspace_id: 'wrkspc_test', credentials: [] })
    own.vaults.set('vlt_gone', { workspace_id: 'wrkspc_test', credentials: [] })
    const before = own.pushes
    await using next = await serveApp({}, { dir, gateway: own.client })
    expect(own.vaults).toEqual(right)
    expect(own.pushes - before).toBe(2)
    expect(next.logged).toEqual([])
  })
})

test('a sealed text that is put into another row does not open there', async () => {
  const vault_id = await newVault()
  const mine = await vaults.credentials.create(vault_id, { auth: variable() })
  const other = clientOf(server.url, await server.otherWorkspaceKey()).beta.vaults
  const theirVault = (await other.create({ display_name: 'theirs' })).id
  const theirs = await other.credentials.create(theirVault, { auth: variable({ secret_value: 'x' }) })
  {
    using database = new DatabaseSync(server.databasePath)
    const sealed = '(SELECT sealed FROM vault_credentials WHERE id = ?)'
    database.prepare(`UPDATE vault_credentials SET sealed = ${sealed} WHERE id = ?`).run(mine.id, theirs.id)
  }
  await other.credentials.update(theirs.id, { vault_id: theirVault, display_name: 'pushed' })
  expect(() => secretsAt(theirVault, 'environment_variable')).toThrow()
  const auth = { type: 'environment_variable' as const, injection_location: { body: false } }
  expect((await refusal(other.credentials.update(theirs.id, { vault_id: theirVault, auth }))).status).toBe(500)
  expect(secretsAt(vault_id, 'environment_variable')).toEqual({ secret_value: `${CANARY}-1` })
})

test('no secret is in the database, its log or what the server says', async () => {
  const vault_id = await newVault()
  const { id } = await vaults.credentials.create(
    vault_id,
    { auth: variable() },
    { headers: { 'idempotency-key': 'a' } },
  )
  await vaults.credentials.update(id, {
    vault_id,
    auth: { type: 'environment_variable', secret_value: `${CANARY}-2` },
  })
  for (const suffix of ['', '-wal']) {
    const bytes = await readFile(server.databasePath + suffix, 'latin1')
    expect(bytes.length).toBeGreaterThan(1_000)
    expect(bytes).not.toContain(CANARY)
  }
  expect(server.logged.join('\n')).not.toContain(CANARY)
})
