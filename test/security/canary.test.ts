import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { writeApiKey } from '@berth/cli'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type JsonRequest, takeCheckpoint } from '../harness/berth-api.ts'
import type { ServerProcess } from '../harness/berth-server.ts'
import { tool } from '../harness/message.ts'
import { askPort, signPort } from '../harness/port-client.ts'
import { messagesOf, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'
import { archivedBytes } from './archives.ts'
import { misplacedSecrets, secretsIn } from './canary-search.ts'
import { nowhere, ownSecrets, type Secret } from './secrets.ts'
import { Tally } from './tally.ts'

const MODEL_KEY = 'sk-ant-canary-model-c41f0e7d2a95'
const API_KEY = 'berth_canary-api-8d03b7e6f1a24c5990'
const VAULT_SECRET = 'canary-vault-2f6d1b7a90e34c58'
const VAULT_TOKEN = 'canary-token-7e30c9d15ab24f86'
const MISTAKEN = 'berth_mistaken-5b1f0d2c9a7e4386c1'
const canary = /canary-(?:model|api|vault|token)-/
/** In a shell, what both keys have in common, without being it: commands that search for it are part of what is searched. */
const MARK = '$(printf cana%s ry-)'

let berth: TestBerth<ServerProcess>
let environmentId: string
let id: string
let sandbox: SessionSandbox
beforeAll(async () => {
  berth = await startKillableBerth({
    env: { ANTHROPIC_API_KEY: MODEL_KEY, BERTH_API_KEY: API_KEY, BERTH_LOG_LEVEL: 'debug' },
    requireKey: MODEL_KEY,
    prepare: (dataDir) => writeApiKey(dataDir, API_KEY),
  })
  ;({ id, environment_id: environmentId } = await berth.createSessionWith({
    resources: { disk_mib: 256 },
    model_retries: 0,
  }))
  const turn = await berth.runTurn(id, ['Hello', '::text The key works.'])
  expect(messagesOf(turn)).toEqual(['The key works.'])
  sandbox = await SessionSandbox.of(berth.traces, id)
})
afterAll(async () => {
  await berth[Symbol.asyncDispose]()
  tally.end()
})
const tally = new Tally('secrets')

/** Files on the host that hold a key, relative to the directory. */
async function filesWithKeys(dir: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('sh', ['-c', `LC_ALL=C grep -raFlZ -- canary- '${dir}' || true`])
  return stdout
    .split('\0')
    .filter((path) => path !== '')
    .map((path) => relative(dir, path))
}

test.each([
  ['the environment', 'env'],
  ['environments of processes', 'cat /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n"'],
  ['command lines of processes', 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n"'],
  ['mounts', 'cat /proc/self/mountinfo /proc/self/cgroup'],
])('no key is in %s', async (_, command) => {
  const turn = await berth.runTurn(id, ['Look', tool('Bash', { command }), '::next', '::text Seen.'])
  const text = textOf(onlyOf(turn, 'agent.tool_result').content)
  expect(text.length).toBeGreaterThan(50)
  expect(text).not.toMatch(canary)
})

test('no key is in any file that the agent can read', async () => {
  const files = String.raw`find / \( -path /proc -o -path /sys -o -path /dev -o -path /usr \) -prune -o -type f -readable -size -16M`
  const command = `${files} 2>/dev/null | wc -l; ${files} -exec env LC_ALL=C grep -aFl -- "${MARK}" {} + 2>/dev/null; true`
  const turn = await berth.runTurn(id, ['Look', tool('Bash', { command }), '::next', '::text Seen.'])
  // The number of files that were looked at, and nothing else.
  expect(textOf(onlyOf(turn, 'agent.tool_result').content).trim()).toMatch(/^[1-9]\d+$/)
})

test('no key is in the environment or the arguments of what runs for the sandbox on the host', async () => {
  const pids = [await sandbox.shimPid(), ...(await sandbox.processes()).map(({ pid }) => pid)]
  for (const pid of pids) {
    const [environ, args] = await Promise.all(
      ['environ', 'cmdline'].map((name) => readFile(`/proc/${pid}/${name}`, 'latin1')),
    )
    expect(environ).not.toMatch(canary)
    expect(args).not.toMatch(canary)
  }
  const gateway = (await berth.traces.gateway())?.pid ?? 0
  expect(await readFile(`/proc/${gateway}/cmdline`, 'latin1')).not.toMatch(canary)
  // It is there that the model's key has its place, and the API's has none.
  expect(await readFile(`/proc/${gateway}/environ`, 'latin1')).toContain(MODEL_KEY)
  expect(await readFile(`/proc/${gateway}/environ`, 'latin1')).not.toContain(API_KEY)
})

test('what the agent sends as a key does not replace the real one', async () => {
  const body = JSON.stringify({
    model: 'claude-sonnet-5-5',
    max_tokens: 10,
    messages: [{ role: 'user', content: 'Direct' }],
  })
  const command = `curl -sS --unix-socket $ANTHROPIC_UNIX_SOCKET -H 'content-type: application/json' -H 'x-api-key: sk-mine' -H 'authorization: Bearer mine' -d '${body}' http://model/v1/messages`
  const turn = await berth.runTurn(id, ['Ask', tool('Bash', { command }), '::next', '::text Seen.'])
  expect(textOf(onlyOf(turn, 'agent.tool_result').content)).toContain('You said')
  const [call] = berth.modelCalls('Direct')
  expect(call?.headers).toMatchObject({ 'x-api-key': MODEL_KEY })
  expect(JSON.stringify(call?.headers)).not.toMatch(/mine/)
})

test('no key is in an answer of the API, in a log, in the database or with the sandbox', async () => {
  const { id: clean } = await berth.createSession({ environment_id: environmentId })
  await berth.runTurn(clean, ['Hello', '::text Hello.'])
  const answers = await Promise.all(
    [
      '/v1/sessions',
      `/v1/sessions/${clean}/events`,
      '/v1/agents',
      '/v1/environments',
      '/berth/v1/keys',
      '/openapi.json',
      '/readyz',
    ].map(async (path) => (await berth.fetch(path)).text()),
  )
  expect(answers.join('\n').length).toBeGreaterThan(1_000)
  expect(answers.join('\n')).not.toMatch(canary)
  expect(berth.server.log()).not.toMatch(canary)
  expect(await filesWithKeys(join(berth.dir, 'gateway'))).toEqual([])
  expect((await readdir(berth.dir)).length).toBeGreaterThan(3)
  expect((await sandbox.processes()).length).toBeGreaterThan(2)
  expect(await filesWithKeys(berth.dir)).toEqual(['api-key'])
})

/** With a secret for a variable, a token that was another one before, and one that is refused. */
async function makeVault(): Promise<string> {
  const { vaults } = berth.client.beta
  const { id } = await vaults.create({ display_name: 'Ada' })
  const networking = { type: 'limited' as const, allowed_hosts: ['api.example.com'] }
  const variable = { type: 'environment_variable' as const, secret_name: 'TOKEN', secret_value: VAULT_SECRET }
  await vaults.credentials.create(id, { auth: { ...variable, networking } })
  const unbound = { ...networking, allowed_hosts: ['*'] }
  await expect(vaults.credentials.create(id, { auth: { ...variable, networking: unbound } })).rejects.toThrow(/400/)
  const auth = { type: 'static_bearer' as const, mcp_server_url: 'https://mcp.example.com', token: `${VAULT_TOKEN}-1` }
  const { id: token } = await vaults.credentials.create(id, { auth })
  await vaults.credentials.update(token, { vault_id: id, auth: { type: 'static_bearer', token: VAULT_TOKEN } })
  return id
}

const made = z.object({ id: z.string(), key: z.string() })
const described = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) })

/** Works, fails and is refused in as many ways as there are; answers what was used, and all that was answered. */
async function workAndMistakes(session: string): Promise<{ used: Record<string, string>; answers: string[] }> {
  const answers: string[] = []
  const ask = async (path: string, init: JsonRequest & { key?: string } = {}): Promise<string> => {
    const headers = {
      authorization: `Bearer ${init.key ?? API_KEY}`,
      'content-type': 'application/json',
      ...init.headers,
    }
    const answer = await fetch(berth.server.url + path, { ...init, headers })
    const text = `${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`
    answers.push(text)
    return text
  }
  const keyed = { method: 'POST', body: '{"name":"k"}', headers: { 'idempotency-key': 'twice' } }
  const key = made.parse(
    await (
      await berth.fetch('/berth/v1/keys', {
        ...keyed,
        headers: { ...keyed.headers, 'content-type': 'application/json' },
      })
    ).json(),
  )
  await ask('/berth/v1/keys', keyed)
  await ask('/v1/sessions', { key: key.key })
  const { url } = await signPort(berth, session, 8000)
  const token = new URL(url).searchParams.get('berth_token') ?? ''
  const bare = new URL(url).origin
  const visits: [string, Record<string, string>][] = [
    [url, { accept: 'text/html' }],
    [url, { accept: '*/*' }],
    [bare, { cookie: `berth-port=${token}` }],
    [bare, { authorization: `Bearer ${key.key}` }],
  ]
  for (const [target, headers] of visits) {
    const { status, headers: said, body } = await askPort(target, { headers })
    // The cookie is the token.
    answers.push(`${status} ${JSON.stringify({ ...said, 'set-cookie': undefined })} ${body}`)
  }
  await ask(`/berth/v1/keys/${key.id}/revoke`, { method: 'POST' })
  await ask('/v1/sessions', { key: key.key })
  await ask('/v1/sessions', { key: MISTAKEN })
  await ask(`/v1/sessions?key=${MISTAKEN}&api_key=${key.key}`)
  await ask(`/v1/nothing/${session}`, { headers: { 'x-api-key': key.key } })
  await ask('/v1/agents', { method: 'POST', body: '{"name":' })
  await ask('/v1/agents', { method: 'POST', body: '{"name":"A","model":"m","other":1}' })
  answers.push((await askPort(bare, { headers: { 'x-api-key': MISTAKEN } })).body)
  answers.push((await askPort(`${url}x`)).body)
  const { paths } = described.parse(JSON.parse(await (await berth.fetch('/openapi.json')).text()))
  const ids: Record<string, string> = { session_id: session, environment_id: environmentId, key_id: key.id }
  for (const [path, methods] of Object.entries(paths)) {
    const target = path.replaceAll(/\{(\w+)\}/g, (whole, name: string) => ids[name] ?? whole)
    if ('get' in methods && !target.includes('{') && !target.endsWith('/stream'))
      await ask(`${target}?path=/workspace/a`)
  }
  return {
    used: { 'a key that was made': key.key, 'a mistaken key': MISTAKEN, 'a signed URL’s token': token },
    answers,
  }
}

test('after work, mistakes and refusals no secret is anywhere but in its place', async () => {
  const vault_id = await makeVault()
  const { id: session } = await berth.createSession({ environment_id: environmentId, vault_ids: [vault_id] })
  await berth.runTurn(session, [
    'Write',
    tool('Bash', { command: 'echo kept in the archive > a; env | grep TOKEN > b; false' }),
    '::next',
    '::text Written.',
  ])
  await takeCheckpoint(berth, session)
  const { used, answers } = await workAndMistakes(session)
  const secrets: Secret[] = [
    ...nowhere({ 'the model’s key': MODEL_KEY, 'a variable': VAULT_SECRET, 'a token': VAULT_TOKEN, ...used }),
    { kind: 'the first API key', value: API_KEY, places: [/^api-key$/] },
    ...ownSecrets(berth.dir),
  ]
  for (const kind of [
    'what signed URLs',
    'a launch’s nonce',
    'a password of a way out',
    'the key of the vaults',
    'the key of the authority',
  ]) {
    expect(secrets.filter((secret) => secret.kind.startsWith(kind))).not.toHaveLength(0)
  }
  for (const secret of secrets) {
    expect(secret.value.length).toBeGreaterThan(20)
    tally.count(!answers.some((text) => text.includes(secret.value)))
    tally.count(!berth.server.log().includes(secret.value))
  }
  expect(secretsIn(answers.join('\n'), secrets)).toEqual([])
  expect(secretsIn(berth.server.log(), secrets)).toEqual([])
  expect(berth.server.log()).toContain('"path":"/v1/sessions"')
  expect(await misplacedSecrets(berth.dir, secrets)).toEqual([])
  const archived = await archivedBytes(berth.dir)
  expect(archived.includes('kept in the archive')).toBe(true)
  expect(secretsIn(archived.toString('latin1'), secrets)).toEqual([])
})
