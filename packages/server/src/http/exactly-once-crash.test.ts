/** What happens when the effect of a request is durable and its answer is not. */
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { countAgents, countMessages, idOf, newSession, post, say } from '../../test/post.ts'
import { serveApp, type TestServer } from '../../test/serve-app.ts'
import { VaultGateway } from '../../test/vault-gateway.ts'

let server: TestServer
let database: DatabaseSync
beforeAll(async () => {
  server = await serveApp({}, { gateway: new VaultGateway().client })
  database = new DatabaseSync(server.databasePath, { timeout: 5_000 })
})
afterAll(async () => {
  database.close()
  await server[Symbol.asyncDispose]()
})

let lastKey = 0
const newKey = () => ({ 'idempotency-key': `crash-${++lastKey}` })

/** The server gets as far as the commit of the effect, and no further. */
async function cutOff(path: string, body: unknown, key: Record<string, string>): Promise<void> {
  database.exec(
    "CREATE TRIGGER cut BEFORE UPDATE OF answer ON requests BEGIN SELECT RAISE(ABORT, 'cut off before the answer'); END",
  )
  const { status } = await post(server, path, body, key)
  database.exec('DROP TRIGGER cut')
  expect([path, status]).toEqual([path, 500])
}

test('the next try gets the answer, and has no effect of its own', async () => {
  const key = newKey()
  await cutOff('/v1/agents', { name: 'once', model: 'm' }, key)
  const answer = await post(server, '/v1/agents', { name: 'once', model: 'm' }, key)
  expect(answer.status).toBe(200)
  expect(await post(server, '/v1/agents', { name: 'once', model: 'm' }, key)).toEqual(answer)
  expect(await countAgents(server, 'once')).toBe(1)
  const { id } = await server.client.beta.agents.retrieve(idOf(answer))
  expect(id).toBe(idOf(answer))
})

test('an input is one input', async () => {
  const id = await newSession(server)
  const key = newKey()
  await cutOff(`/v1/sessions/${id}/events`, say('hello'), key)
  expect(await countMessages(server, id)).toBe(1)
  const { status, body } = await post(server, `/v1/sessions/${id}/events`, say('hello'), key)
  expect(status).toBe(200)
  const { data } = await server.client.beta.sessions.events.list(id, { types: ['user.message'] })
  expect(z.object({ data: z.array(z.object({ id: z.string() })) }).parse(JSON.parse(body)).data).toEqual([
    expect.objectContaining({ id: data[0]?.id }),
  ])
  expect(data).toHaveLength(1)
})

test('watchers see what was done once, and not its repetition', async () => {
  const id = await newSession(server)
  const stream = await server.client.beta.sessions.events.stream(id)
  const key = newKey()
  await cutOff(`/v1/sessions/${id}/events`, say('one'), key)
  await post(server, `/v1/sessions/${id}/events`, say('one'), key)
  await server.client.beta.sessions.update(id, { title: 'the end' })
  let echoes = 0
  for await (const event of stream) {
    if (event.type === 'user.message' && event.processed_at === null) echoes += 1
    if (event.type === 'session.updated') break
  }
  expect(echoes).toBe(1)
})

test('what would be refused by now was taken all the same', async () => {
  const agent = await server.client.beta.agents.create({ name: 'A', model: 'm' })
  const environment = await server.client.beta.environments.create({ name: 'e' })
  const creation = { agent: agent.id, environment_id: environment.id, title: 'made' }
  const key = newKey()
  await cutOff('/v1/sessions', creation, key)
  await server.client.beta.agents.archive(agent.id)
  expect((await post(server, '/v1/sessions', creation, newKey())).status).toBe(400)
  const made = await post(server, '/v1/sessions', creation, key)
  expect(made.status).toBe(200)
  const { data } = await server.client.beta.sessions.list({ agent_id: agent.id })
  expect(data.map(({ id }) => id)).toEqual([idOf(made)])

  const session = `/v1/sessions/${idOf(made)}`
  const update = newKey()
  await cutOff(session, { title: 'renamed' }, update)
  await server.client.beta.sessions.archive(idOf(made))
  expect((await post(server, session, { title: 'renamed' }, newKey())).status).toBe(400)
  const updated = await post(server, session, { title: 'renamed' }, update)
  expect(JSON.parse(updated.body)).toMatchObject({ title: 'renamed', status: 'idle' })

  const last = newKey()
  const other = await newSession(server)
  await cutOff(`/v1/sessions/${other}/archive`, {}, last)
  await server.client.beta.sessions.delete(other)
  expect(JSON.parse((await post(server, `/v1/sessions/${other}/archive`, {}, last)).body)).toMatchObject({
    id: other,
    status: 'terminated',
  })
})

test('a new API key is in the first answer and nowhere else', async () => {
  const key = newKey()
  const made = await post(server, '/berth/v1/keys', { name: 'secret' }, key)
  expect(made.status).toBe(200)
  const secret = z.object({ key: z.string() }).parse(JSON.parse(made.body)).key
  const again = await post(server, '/berth/v1/keys', { name: 'secret' }, key)
  expect([again.status, again.headers['x-should-retry']]).toEqual([409, 'false'])
  expect(JSON.parse(again.body)).toMatchObject({
    error: { message: expect.stringContaining(idOf(made)), details: { id: idOf(made) } },
  })
  const keys = await server.fetch('/berth/v1/keys')
  expect((await keys.text()).split('"secret"')).toHaveLength(2)
  const noted = database.prepare('SELECT * FROM requests WHERE key = ?').get(key['idempotency-key'])
  expect(noted).toBeDefined()
  expect(JSON.stringify(noted)).not.toContain(secret)
})

const accepted = z.object({ data: z.tuple([z.object({ id: z.string() })]) })
const documented = z.object({
  paths: z.record(z.string(), z.record(z.string(), z.object({ parameters: z.array(z.unknown()).optional() }))),
})

test('every POST notes its effect and repeats it, and says that it takes a key', async () => {
  const { paths } = documented.parse(await (await server.fetch('/openapi.json')).json())
  const posts = Object.entries(paths).flatMap(([path, { post: route }]) =>
    route === undefined ? [] : [[path, route] as const],
  )
  for (const [, { parameters }] of posts) {
    expect(parameters).toContainEqual({ $ref: '#/components/parameters/IdempotencyKey' })
  }
  const agent = await server.client.beta.agents.create({ name: 'A', model: 'm' })
  const environment = await server.client.beta.environments.create({ name: 'e' })
  const { vaults } = server.client.beta
  const vault = await vaults.create({ display_name: 'v' })
  const bearer = { type: 'static_bearer' as const, mcp_server_url: 'https://mcp.example', token: 'one' }
  const credential = await vaults.credentials.create(vault.id, { auth: bearer })
  const ids: Record<string, string> = {
    '{vault_id}': vault.id,
    '{credential_id}': credential.id,
    '{agent_id}': agent.id,
    '{environment_id}': environment.id,
    '{session_id}': await newSession(server),
    '{key_id}': idOf(await post(server, '/berth/v1/keys', { name: 'k' }, {})),
  }
  const events = { events: [{ type: 'user.interrupt' }] }
  const sent = await post(server, `/v1/sessions/${ids['{session_id}']}/events`, events, {})
  const event_id = accepted.parse(JSON.parse(sent.body)).data[0].id
  const bodies: Record<string, object> = {
    '/v1/agents': { name: 'A', model: 'm' },
    '/v1/agents/{agent_id}': { name: 'B', version: 1 },
    '/v1/agents/{agent_id}/archive': {},
    '/v1/environments': { name: 'e' },
    '/v1/environments/{environment_id}': { name: 'f' },
    '/v1/environments/{environment_id}/archive': {},
    '/v1/vaults': { display_name: 'w' },
    '/v1/vaults/{vault_id}': { display_name: 'x' },
    '/v1/vaults/{vault_id}/credentials': { auth: { ...bearer, mcp_server_url: 'https://other.example' } },
    '/v1/vaults/{vault_id}/credentials/{credential_id}': { auth: { type: 'static_bearer', token: 'two' } },
    '/v1/vaults/{vault_id}/credentials/{credential_id}/archive': {},
    '/v1/vaults/{vault_id}/archive': {},
    '/v1/sessions': { agent: agent.id, environment_id: environment.id },
    '/v1/sessions/{session_id}': { title: 't' },
    '/v1/sessions/{session_id}/events': events,
    '/berth/v1/sessions/{session_id}/fork': { event_id },
    '/v1/sessions/{session_id}/archive': {},
    '/berth/v1/keys': { name: 'l' },
    '/berth/v1/keys/{key_id}/revoke': {},
  }
  // A checkpoint that is asked for again is the same one, as nothing has changed since; a URL and a trial change nothing.
  const once = posts.map(([path]) => path).filter((path) => !/\/(?:checkpoints|url|mcp_oauth_validate)$/.test(path))
  expect(once.sort()).toEqual(Object.keys(bodies).sort())
  // The ends of things last.
  const inOrder = Object.keys(bodies).sort((a, b) => Number(a.endsWith('archive')) - Number(b.endsWith('archive')))
  for (const path of inOrder) {
    const key = newKey()
    const url = path.replaceAll(/\{\w+\}/g, (name) => ids[name] ?? name)
    const isSecret = path === '/berth/v1/keys'
    if (isSecret) expect((await post(server, url, bodies[path], key)).status).toBe(200)
    else await cutOff(url, bodies[path], key)
    const noted = database.prepare('SELECT operation, result FROM requests WHERE key = ?').get(key['idempotency-key'])
    expect([path, noted]).toEqual([path, { operation: expect.any(String), result: expect.any(String) }])
    const { status } = await post(server, url, bodies[path], key)
    expect([path, status]).toEqual([path, isSecret ? 409 : 200])
  }
})
