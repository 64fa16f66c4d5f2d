import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { clientOf, serveApp, type TestServer } from '../../test/serve-app.ts'

let server: TestServer
let client: Anthropic
beforeAll(async () => {
  server = await serveApp()
  client = server.client
})
afterAll(() => server[Symbol.asyncDispose]())

const { Environments } = Anthropic.Beta

const config = {
  type: 'cloud',
  networking: { type: 'limited', allowed_hosts: [], allow_mcp_servers: false, allow_package_managers: false },
  packages: { type: 'packages', apt: [], cargo: [], gem: [], go: [], npm: [], pip: [] },
  berth: {
    driver: null,
    image: null,
    resources: { cpus: 1, memory_mib: 1024, disk_mib: 5120, pids: 512, files: 4096 },
    model_retries: 10,
    on_interrupted_turn: 'continue',
    lifecycle: {
      type: 'hybrid',
      idle_timeout: 300,
      approval_hold: 60,
      checkpoint_after: 5,
      background: { type: 'kill_after', seconds: 3600 },
    },
    warm_pool: { size: 0, agent: null },
    setting_sources: [],
  },
}

/** With our own key, which the client's types do not know. */
async function post(path: string, body: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await server.fetch(path, { method: 'POST', body: JSON.stringify(body) })
  return { status: answer.status, body: z.record(z.string(), z.unknown()).parse(await answer.json()) }
}

test('a new environment has every default filled in', async () => {
  const made = await client.beta.environments.create({ name: 'plain' })
  expect(made).toMatchObject({
    type: 'environment',
    name: 'plain',
    description: null,
    metadata: {},
    scope: 'organization',
    archived_at: null,
  })
  expect(made.id).toMatch(/^env_/)
  expect(made.config).toEqual(config)
  expect(await client.beta.environments.retrieve(made.id)).toEqual(made)
})

const limited = { type: 'limited' as const }
const nothingAllowed = { allowed_hosts: [], allow_mcp_servers: false, allow_package_managers: false }

test('limited networking allows what it names and nothing else, in one form of writing it', async () => {
  const networking = { ...limited, allowed_hosts: ['API.Example.com', '*.bücher.example'] }
  const made = await client.beta.environments.create({ name: 'e', config: { type: 'cloud', networking } })
  const allowed_hosts = ['api.example.com', '*.xn--bcher-kva.example']
  expect(made.config).toMatchObject({ networking: { ...limited, ...nothingAllowed, allowed_hosts } })
  const update = async (changed: Anthropic.Beta.BetaCloudConfigParams['networking']) =>
    (await client.beta.environments.update(made.id, { config: { type: 'cloud', networking: changed } })).config
  const packages = { allow_package_managers: true }
  expect(await update({ ...limited, ...packages })).toMatchObject({
    networking: { ...limited, ...nothingAllowed, ...packages, allowed_hosts },
  })
  expect(await update({ type: 'unrestricted' })).toMatchObject({ networking: { type: 'unrestricted' } })
  expect(await update(limited)).toMatchObject({ networking: { ...limited, ...nothingAllowed } })
})

test('what we do anyway may be said', async () => {
  const made = await client.beta.environments.create({
    name: 'spelled out',
    description: '',
    scope: 'organization',
    config: {
      type: 'cloud',
      networking: { type: 'limited', allowed_hosts: [], allow_mcp_servers: false },
      packages: { apt: [], pip: null },
    },
  })
  expect(made.config).toEqual(config)
  expect(made.description).toBe('')
})

test('an update keeps what it does not name, at every level', async () => {
  const made = await post('/v1/environments', {
    name: 'e',
    metadata: { a: '1', b: '2', c: '3' },
    config: { type: 'cloud', berth: { resources: { cpus: 2, memory_mib: 2048 }, model_retries: 0, driver: 'oci' } },
  })
  expect(made.body['config']).toMatchObject({
    berth: { driver: 'oci', resources: { cpus: 2, memory_mib: 2048, disk_mib: 5120 }, model_retries: 0 },
  })
  const path = `/v1/environments/${String(made.body['id'])}`
  const updated = await post(path, {
    description: 'd',
    metadata: { a: null, b: '' },
    config: { type: 'cloud', berth: { resources: { cpus: null, pids: 100 } } },
  })
  expect(updated.body).toMatchObject({ name: 'e', description: 'd', metadata: { c: '3' } })
  expect(updated.body['config']).toMatchObject({
    berth: { driver: 'oci', resources: { cpus: 1, memory_mib: 2048, pids: 100 }, model_retries: 0 },
  })
  const cleared = await post(path, { description: null, config: null })
  expect(cleared.body).toMatchObject({ description: null, config: updated.body['config'] })
})

test('sources of settings are named, replaced as a list, and refused where they could not be what they say', async () => {
  const berth = (setting_sources: unknown, more: object = {}) => ({
    config: { type: 'cloud', berth: { setting_sources, ...more } },
  })
  const made = await post('/v1/environments', { name: 'e', ...berth(['local', 'project']) })
  expect(made.body['config']).toMatchObject({ berth: { setting_sources: ['project', 'local'] } })
  const path = `/v1/environments/${String(made.body['id'])}`
  const sourcesAfter = async (body: object) => (await post(path, body)).body['config']
  expect(await sourcesAfter({ description: 'd' })).toMatchObject({ berth: { setting_sources: ['project', 'local'] } })
  expect(await sourcesAfter(berth(['project']))).toMatchObject({ berth: { setting_sources: ['project'] } })

  const { id: agent } = await client.beta.agents.create({ name: 'A', model: 'm' })
  const refused = [
    [400, berth(['managed']), /setting_sources.*project.*local/],
    [400, berth('project'), /setting_sources/],
    [400, berth(['local', 'local']), /setting_sources: names a source twice/],
    [501, berth(['user']), /setting_sources: user is not offered/],
    [400, berth(undefined, { warm_pool: { size: 1, agent } }), /setting_sources: cannot be combined with warm_pool/],
  ] as const
  for (const [status, body, message] of refused) {
    const answer = await post(path, body)
    expect([answer.status, JSON.stringify(answer.body)]).toEqual([status, expect.stringMatching(message)])
  }
  expect(await sourcesAfter(berth(null))).toMatchObject({ berth: { setting_sources: [] } })
})

test('archived environments are read only, with the error class that the client has for it', async () => {
  const { id } = await client.beta.environments.create({ name: 'e' })
  const archived = await client.beta.environments.archive(id)
  expect(archived.archived_at).not.toBeNull()
  await expect(client.beta.environments.update(id, { name: 'f' })).rejects.toThrow(
    Environments.BetaEnvironmentArchivedError,
  )
  expect((await client.beta.environments.list({ limit: 100 })).data.map((one) => one.id)).not.toContain(id)
  const all = await client.beta.environments.list({ limit: 100, include_archived: true })
  expect(all.data.map((one) => one.id)).toContain(id)
})

test('deleted environments are gone; those with sessions are not deleted', async () => {
  const { id } = await client.beta.environments.create({ name: 'e' })
  expect(await client.beta.environments.delete(id)).toEqual({ id, type: 'environment_deleted' })
  await expect(client.beta.environments.retrieve(id)).rejects.toThrow(Environments.BetaEnvironmentNotFoundError)

  const used = await client.beta.environments.create({ name: 'used' })
  const agent = await client.beta.agents.create({ name: 'A', model: 'm' })
  const session = await client.beta.sessions.create({ agent: agent.id, environment_id: used.id })
  await expect(client.beta.environments.delete(used.id)).rejects.toThrow(session.id)
  await client.beta.sessions.delete(session.id)
  await client.beta.environments.delete(used.id)
})

test('paging goes through all of them', async () => {
  await using own = await serveApp()
  const made: string[] = []
  for (let i = 0; i < 5; i++) made.push((await own.client.beta.environments.create({ name: `e${i}` })).id)
  const seen: string[] = []
  for await (const one of own.client.beta.environments.list({ limit: 2 })) seen.push(one.id)
  expect(seen).toEqual(made.toReversed())
})

test('environments of another workspace do not exist', async () => {
  const { id } = await client.beta.environments.create({ name: 'e' })
  const other = clientOf(server.url, await server.otherWorkspaceKey())
  for (const call of [
    () => other.beta.environments.retrieve(id),
    () => other.beta.environments.update(id, { name: 'mine' }),
    () => other.beta.environments.archive(id),
    () => other.beta.environments.delete(id),
  ]) {
    await expect(call()).rejects.toThrow(Environments.BetaEnvironmentNotFoundError)
  }
  expect((await other.beta.environments.list()).data).toEqual([])
  expect(await client.beta.environments.retrieve(id)).toMatchObject({ name: 'e', archived_at: null })
})

const unsupported: [string, Anthropic.Beta.EnvironmentCreateParams['config'], RegExp][] = [
  ['packages', { type: 'cloud', packages: { npm: ['x'] } }, /config\.packages\.npm: /],
  ['self_hosted', { type: 'self_hosted' }, /config\.type: /],
]
test.each(unsupported)('%s: a 501 that names the field', async (_, wanted, message) => {
  const call = client.beta.environments.create({ name: 'e', config: wanted })
  await expect(call).rejects.toThrow(message)
  await expect(call).rejects.toMatchObject({ status: 501 })
})

test('the kind of an environment cannot change', async () => {
  const { id } = await client.beta.environments.create({ name: 'e' })
  await expect(client.beta.environments.update(id, { config: { type: 'self_hosted' } })).rejects.toThrow(
    Environments.BetaInvalidConfigTypeChangeError,
  )
})

test('bad metadata has its own error class', async () => {
  const tooLong = { name: 'e', metadata: { k: 'v'.repeat(513) } }
  await expect(client.beta.environments.create(tooLong)).rejects.toThrow(Environments.BetaInvalidMetadataError)
})

const hosts = (...allowed_hosts: unknown[]) => ({
  name: 'e',
  config: { type: 'cloud', networking: { ...limited, allowed_hosts } },
})
const berth = (value: object) => ({ name: 'e', config: { type: 'cloud', berth: value } })
const invalid: [string, object, RegExp][] = [
  ['an address for a host', hosts('a.example', '10.0.0.1'), /config\.networking\.allowed_hosts\.1: .*address/],
  ['an address of IPv6', hosts('[::1]'), /config\.networking\.allowed_hosts\.0: .*address/],
  ['a host with a port', hosts('a.example:443'), /config\.networking\.allowed_hosts\.0: .*port/],
  ['a host with a path', hosts('a.example/x'), /config\.networking\.allowed_hosts\.0: .*path/],
  ['a URL', hosts('https://a.example'), /config\.networking\.allowed_hosts\.0: .*scheme/],
  ['a wildcard in the middle', hosts('a.*.example'), /config\.networking\.allowed_hosts\.0: .*\*/],
  ['a wildcard alone', hosts('*'), /config\.networking\.allowed_hosts\.0: .*\*/],
  ['an empty host', hosts(''), /config\.networking\.allowed_hosts\.0: is empty/],
  ['a host of one label', hosts('localhost'), /config\.networking\.allowed_hosts\.0: /],
  ['a host that is no text', hosts(1), /config\.networking\.allowed_hosts\.0: /],
  [
    'hosts that are no list',
    { name: 'e', config: { type: 'cloud', networking: { ...limited, allowed_hosts: 'a.example' } } },
    /config\.networking\.allowed_hosts: /,
  ],
  [
    'networking of no type',
    { name: 'e', config: { type: 'cloud', networking: { allowed_hosts: [] } } },
    /config\.networking\.type: /,
  ],
  [
    'networking with a typo',
    { name: 'e', config: { type: 'cloud', networking: { ...limited, allow_hosts: [] } } },
    /config\.networking\.allow_hosts: unknown field/,
  ],
  ['an unknown field of the config', { name: 'e', config: { type: 'cloud', nope: 1 } }, /config\.nope: unknown field/],
  ['an unknown field of ours', berth({ life: 'ephemeral' }), /config\.berth\.life: unknown field/],
  ['a lifecycle of no type', berth({ lifecycle: { type: 'short' } }), /config\.berth\.lifecycle\.type: /],
  ['a time before now', berth({ lifecycle: { idle_timeout: -1 } }), /config\.berth\.lifecycle\.idle_timeout: /],
  [
    'an end for what does not end',
    berth({ lifecycle: { type: 'long_running', idle_timeout: 60 } }),
    /config\.berth\.lifecycle\.idle_timeout: /,
  ],
  ['too little memory', berth({ resources: { memory_mib: 128 } }), /config\.berth\.resources\.memory_mib: /],
  ['no CPU', berth({ resources: { cpus: 0 } }), /config\.berth\.resources\.cpus: /],
  ['infinite CPUs', berth({ resources: { cpus: 'Infinity' } }), /config\.berth\.resources\.cpus: /],
  ['a pool without an end', berth({ warm_pool: { size: 101 } }), /config\.berth\.warm_pool\.size: /],
  [
    'a pool of nobody',
    berth({ warm_pool: { agent: 'agent_no' } }),
    /config\.berth\.warm_pool\.agent: there is no agent/,
  ],
  ['too many retries', berth({ model_retries: 11 }), /config\.berth\.model_retries: /],
  ['a driver that is a path', berth({ driver: '../x' }), /config\.berth\.driver: /],
  ['a scope that is not ours', { name: 'e', scope: 'account' }, /scope: /],
  ['no kind', { name: 'e', config: {} }, /config\.type: .*cloud/],
]
test.each(invalid)('%s: a 400 that names the field', async (_, body, message) => {
  const answer = await post('/v1/environments', body)
  expect(answer.status).toBe(400)
  expect(answer.body['error']).toMatchObject({ type: 'invalid_request_error', message: expect.stringMatching(message) })
})
