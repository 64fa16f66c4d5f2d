/** The model API through a session's own socket is a closed list: everything else that the official client knows is tried, and counted. */
import { readdir, readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'

interface Attempt {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
}

interface Answer {
  readonly status: number
  readonly text: string
}

/** Taken by the model API if it comes so far. */
const plain = { model: 'claude-sonnet-5-5', max_tokens: 1, messages: [{ role: 'user', content: 'hi' }] }

let berth: TestBerth
let socket: string
/** Types and code of the official client: it names what the API has. */
let known: { readonly code: string; readonly types: string }
beforeAll(async () => {
  await using opened = new AsyncDisposableStack()
  berth = opened.use(await startTestBerth())
  const { id } = await berth.createSession()
  await berth.runTurn(id, ['Live', '::text here'])
  const { ref } = await SessionSandbox.of(berth.traces, id)
  const gateways = join(ref.runDir ?? '', 'gw')
  socket = join(gateways, (await readdir(gateways))[0] ?? '', 'model.sock')
  const client = join(dirname(fileURLToPath(import.meta.resolve('@anthropic-ai/sdk'))), 'resources')
  known = { code: await readAll(client, '.mjs'), types: await readAll(client, '.d.ts') }
  opened.move()
})
afterAll(() => berth[Symbol.asyncDispose]())

async function readAll(dir: string, ending: string): Promise<string> {
  const names = (await readdir(dir, { recursive: true })).filter((name) => name.endsWith(ending))
  return (await Promise.all(names.map((name) => readFile(join(dir, name), 'utf8')))).join('\n')
}

function found(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([, name = '']) => name))]
}

function attempt({ method = 'POST', path = '/v1/messages', headers, body = plain }: Attempt): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      socketPath: socket,
      agent: false,
      method,
      path,
      headers: { host: 'gateway', 'content-type': 'application/json', ...headers },
    })
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (part: string) => (text += part))
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }))
    })
    outgoing.end(method === 'GET' || method === 'HEAD' ? undefined : JSON.stringify(body))
  })
}

/** One after another; none of them may reach the model API. */
async function expectRefused(what: string, attempts: readonly Attempt[]): Promise<void> {
  const before = berth.model.requests().length
  const passed: unknown[] = []
  for (const each of attempts) {
    const { status } = await attempt(each)
    if (status < 400 || status >= 500) passed.push({ ...each, status })
  }
  expect(passed).toEqual([])
  expect(berth.model.requests()).toHaveLength(before)
  process.stdout.write(`model API through a session's socket: ${attempts.length} ${what} tried, none got through\n`)
}

test('what is tried is taken when nothing is wrong with it', async () => {
  const before = berth.model.requests().length
  expect((await attempt({})).status).toBe(200)
  expect((await attempt({ path: '/v1/messages/count_tokens?beta=true' })).status).toBe(200)
  expect(berth.model.requests().length).toBeGreaterThan(before)
})

test('every other path that the official client knows, with every method, and every spelling of those that are there', async () => {
  const named = found(known.code, /(?:path`|')(\/v1\/[^`'?]*)/g)
  const paths = named.map((path) => path.replace(/\$?\{[^}]*\}/g, 'x')).filter((path) => path !== '/v1/messages')
  const others = paths.filter((path) => path !== '/v1/messages/count_tokens')
  expect(others.length).toBeGreaterThan(60)
  const spelled = [
    '/v1/messages/',
    '//v1/messages',
    '/v1//messages',
    '/v1/./messages',
    '/v1/x/../messages',
    '/v1/%6dessages',
  ]
  const more = [
    '/V1/messages',
    '/v1/messages?beta=false',
    '/v1/messages?beta=true&beta=true',
    '/v1/messages#',
    '/v1/messages;',
    '/v1/complete',
    '/',
    '/metrics',
    '/sessions',
    '/health',
    '/usage',
    '/shutdown',
    'http://api.anthropic.com/v1/messages',
  ]
  const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']
  const targets = [...others, ...spelled, ...more]
  await expectRefused(
    'paths and methods',
    targets.flatMap((path) => methods.map((method) => ({ method, path }))),
  )
  const wrong = ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'PROPFIND']
  await expectRefused(
    'methods of the paths that are there',
    wrong.map((method) => ({ method })),
  )
}, 120_000)

/** Those that ask only for another form of the same answer. */
const harmless =
  /^(?:compact|context|dangerous|effort|extended-cache|fine-grained|inline-tools|interleaved|mid-conversation|model-context|output-128k|pdfs|prompt-caching|server-side-fallback|structured|task-budgets|thinking|token-|tool-search|advanced-tool)/

test('every beta that the official client knows, and some that nobody does', async () => {
  const declared = /export type AnthropicBeta = ([^;]*);/.exec(known.types)?.[1] ?? ''
  const betas = [
    ...found(declared, /'([^']+)'/g),
    'made-up-2026-11-22',
    'files-api-2099-01-01',
    'MCP-Client-2025-04-04',
  ]
  expect(betas.length).toBeGreaterThan(40)
  const forwarded: string[] = []
  let refused = 0
  for (const beta of betas) {
    const before = berth.model.requests().length
    const { status } = await attempt({ headers: { 'anthropic-beta': beta } })
    const [made] = berth.model.requests().slice(before)
    if (status >= 400) refused += 1
    else if (made?.headers['anthropic-beta'] !== undefined) forwarded.push(beta)
    // Of those that are refused nothing gets out, and of the others no more than was asked for.
    expect(made === undefined, beta).toBe(status >= 400)
    expect([undefined, beta]).toContain(made?.headers['anthropic-beta'])
  }
  expect(forwarded.filter((beta) => !harmless.test(beta))).toEqual([])
  expect(refused).toBeGreaterThan(5)
  const dropped = betas.length - forwarded.length - refused
  process.stdout.write(
    `model API through a session's socket: ${betas.length} betas tried, ${refused} refused, ${dropped} dropped, ${forwarded.length} let through\n`,
  )
}, 120_000)

/** Fields of a request that are about nothing but this one conversation. */
const allowed = new Set([
  'model',
  'messages',
  'max_tokens',
  'system',
  'tools',
  'tool_choice',
  'stream',
  'stop_sequences',
  'temperature',
  'top_p',
  'top_k',
  'thinking',
  'output_config',
  'output_format',
  'cache_control',
  'metadata',
  'service_tier',
  'speed',
  'context_management',
  'compaction',
  'fallbacks',
])

test('every field of a request that the official client knows beyond those, and some that nobody does', async () => {
  const shape = /interface MessageCreateParamsBase \{([\s\S]*?)\n\}/g
  const fields = [...known.types.matchAll(shape)].flatMap(([, text = '']) => found(text, /^ {4}(\w+)\??:/gm))
  expect(fields.length).toBeGreaterThan(20)
  const unknown = ['made_up', 'Model', 'file_id', 'url', 'api_key', 'constructor', 'prompt', '']
  const tried = [...new Set([...fields, ...unknown])].filter((field) => !allowed.has(field) && field !== 'betas')
  const values = ['x', { id: 'x' }, [{ type: 'url', url: 'https://x.example', name: 'x' }], 1, true]
  await expectRefused(
    'fields',
    tried.flatMap((field) => values.map((value) => ({ body: { ...plain, [field]: value } }))),
  )
  const dearer = [
    { speed: 'fast' },
    { service_tier: 'priority' },
    { thinking: 'x' },
    { context_management: { edits: [{ type: 'x' }] } },
    { messages: [{ role: 'user', content: [{ type: 'container_upload', file_id: 'x' }] }] },
    { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://x.example' } }] }] },
    { messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'file', file_id: 'x' } }] }] },
  ]
  await expectRefused(
    'values of fields that are there',
    dearer.map((given) => ({ body: { ...plain, ...given } })),
  )
}, 120_000)

/** Carried out by the CLI or our runner, not by the API. */
const ofClient = /^(?:bash|text_editor|memory|computer|browser_toolset|computer_toolset)_\d{8}$/

test('every tool that the API would carry out', async () => {
  const types = found(known.types, /type\??: '([a-z_]+_20\d{6})'/g)
  const tools = [
    ...types.filter((type) => !ofClient.test(type)),
    'mcp_toolset',
    'made_up_20990101',
    'web_search_20990101',
    'bash_20241022x',
  ]
  expect(tools.length).toBeGreaterThan(15)
  const asked = tools.map((type) => ({ ...plain, tools: [{ type, name: 'x', max_uses: 1 }] }))
  const added = tools.map((type) => ({
    ...plain,
    messages: [
      {
        role: 'user',
        content: [{ type: 'tool_addition', tool: { type: 'tool_definition', definition: { type, name: 'x' } } }],
      },
    ],
  }))
  await expectRefused(
    'server-side tools',
    [...asked, ...added].map((body) => ({ body })),
  )
}, 120_000)
