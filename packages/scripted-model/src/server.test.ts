import { mkdtemp, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Anthropic, { APIError } from '@anthropic-ai/sdk'
import { expect, test, vi } from 'vitest'
import { startScriptedModel, type ScriptedModel, type ScriptedModelOptions } from './server.ts'

type Options = Omit<ScriptedModelOptions, 'listen'>

function start(options: Options = {}): Promise<ScriptedModel> {
  return startScriptedModel({ listen: { host: '127.0.0.1', port: 0 }, ...options })
}

function client(model: ScriptedModel, apiKey = 'key'): Anthropic {
  return new Anthropic({ baseURL: model.url, apiKey, maxRetries: 0 })
}

const ask = (content: string) => ({
  model: 'claude-test',
  max_tokens: 100,
  messages: [{ role: 'user' as const, content }],
})

function post(model: ScriptedModel, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(`${model.url}/v1/messages?beta=true`, { method: 'POST', body: JSON.stringify(body), ...init })
}

const streamed = (content: string) => ({ ...ask(content), stream: true })

async function eventNames(response: Response): Promise<string[]> {
  return Array.from((await response.text()).matchAll(/^event: (.*)$/gm), (match) => match[1] ?? '')
}

test('the official client gets the same message streamed and whole', async () => {
  await using model = await start()
  const script = ask('::thinking let me see\n::text hello  {{turns}} world\n::tool Bash {"command":"é🎈"}')
  const whole = await client(model).messages.create(script)
  const stream = await client(model).messages.stream(script).finalMessage()
  expect(whole.content).toMatchObject([
    { type: 'thinking', thinking: 'let me see' },
    { type: 'text', text: 'hello  1 world' },
    { type: 'tool_use', name: 'Bash', input: { command: 'é🎈' } },
  ])
  expect(stream.content).toMatchObject(whole.content)
  expect(stream).toMatchObject({ stop_reason: 'tool_use', model: 'claude-test' })
  expect(stream.usage.output_tokens).toBe(whole.usage.output_tokens)
  expect(whole._request_id).toMatch(/^req_\d+$/)
})

test('count_tokens is the bytes over four', async () => {
  await using model = await start()
  const body = { model: 'm', messages: [{ role: 'user' as const, content: 'x'.repeat(4000) }] }
  const counted = await client(model).messages.countTokens(body)
  expect(counted.input_tokens).toBe(Math.ceil(Buffer.byteLength(JSON.stringify(body)) / 4))
})

test('an error comes in the official envelope, with its headers', async () => {
  await using model = await start()
  const response = await post(model, ask('::error 429 rate_limit_error Slow down retry-after=3 should-retry=false'))
  expect(response.status).toBe(429)
  expect(response.headers.get('retry-after')).toBe('3')
  expect(response.headers.get('x-should-retry')).toBe('false')
  expect(await response.json()).toEqual({
    type: 'error',
    error: { type: 'rate_limit_error', message: 'Slow down' },
    request_id: response.headers.get('request-id'),
  })
})

test('times=N: N tries of that step of that session fail, then it goes on as scripted', async () => {
  await using model = await start()
  const body = ask('::error 529 overloaded_error times=2\n::error 500 api_error times=1\n::text fine')
  const status = async (session: string) =>
    (await post(model, body, { headers: { 'x-claude-code-session-id': session } })).status
  expect([await status('a'), await status('a'), await status('b'), await status('a'), await status('a')]).toEqual([
    529, 529, 529, 500, 200,
  ])
  expect(await status('a')).toBe(200)
})

test('the same prompt said again has tries of its own', async () => {
  await using model = await start()
  const prompt = { role: 'user' as const, content: '::error 500 api_error times=1\n::text fine' }
  const messages = [prompt, { role: 'assistant' as const, content: 'fine' }, prompt]
  const status = async (count: number) => (await post(model, { ...ask(''), messages: messages.slice(0, count) })).status
  expect([await status(1), await status(1), await status(3), await status(3)]).toEqual([500, 200, 500, 200])
})

test('a wrong script is a 400 that names the line', async () => {
  await using model = await start()
  const failure = client(model).messages.create(ask('Hi\n::text ok\n::tool Bash {broken'))
  await expect(failure).rejects.toThrow(/script line 3: ::tool: broken JSON/)
  await expect(failure).rejects.toMatchObject({ status: 400, error: { error: { type: 'invalid_request_error' } } })
})

test.each([
  ['not JSON at all', 'the body is not JSON'],
  ['{"model":"m","messages":[]}', 'messages'],
  ['{"model":"m","messages":[{"role":"robot","content":"x"}]}', 'role'],
])('a bad request body is refused: %s', async (body, complaint) => {
  await using model = await start()
  const response = await fetch(`${model.url}/v1/messages`, { method: 'POST', body })
  expect(response.status).toBe(400)
  expect(await response.text()).toContain(complaint)
  expect(model.requests()).toEqual([])
})

test('garbage is a 200 that no client can read', async () => {
  await using model = await start()
  await expect(client(model).messages.stream(ask('::garbage')).finalMessage()).rejects.toThrow()
  const plain = await post(model, ask('::garbage'))
  expect(plain.status).toBe(200)
  await expect(plain.json()).rejects.toThrow()
})

test('cut: exactly n events, then the connection breaks', async () => {
  await using model = await start()
  const { port } = new URL(model.url)
  const received = await new Promise<{ text: string; broken: boolean }>((resolve, reject) => {
    const sent = httpRequest({ host: '127.0.0.1', port, path: '/v1/messages', method: 'POST' }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('close', () => resolve({ text, broken: !response.complete })).on('error', () => {})
    })
    sent.on('error', reject).end(JSON.stringify(streamed('::cut 4\n::text one two three')))
  })
  expect(received.broken).toBe(true)
  expect(received.text.match(/^event: .*$/gm)).toEqual([
    'event: message_start',
    'event: content_block_start',
    'event: ping',
    'event: content_block_delta',
  ])
  await expect(post(model, ask('::cut 4\n::text x')).then((response) => response.json())).rejects.toThrow()
  await vi.waitFor(() => expect(model.requests().map(({ outcome }) => outcome)).toEqual(['closed', 'closed']))
})

test('stall: the stream begins and never goes on', async () => {
  await using model = await start()
  const response = await post(model, streamed('::stall 2\n::text one'))
  const reader = response.body?.getReader()
  let text = ''
  while (!text.includes('content_block_start')) text += Buffer.from((await reader?.read())?.value ?? []).toString()
  expect(text).not.toContain('ping')
  expect(model.requests()).toMatchObject([{ status: 200, outcome: 'open' }])
  await reader?.cancel()
  await vi.waitFor(() => expect(model.requests()).toMatchObject([{ status: 200, outcome: 'closed' }]))
})

test('hang: no answer, until the client or the model goes away', async () => {
  const model = await start()
  const gone = new AbortController()
  const first = post(model, ask('::hang'), { signal: gone.signal })
  await vi.waitFor(() => expect(model.requests()).toMatchObject([{ status: null, outcome: 'open' }]))
  gone.abort()
  await expect(first).rejects.toThrow()
  await vi.waitFor(() => expect(model.requests()).toMatchObject([{ status: null, outcome: 'closed' }]))
  const second = expect(post(model, ask('::hang'))).rejects.toThrow()
  await vi.waitFor(() => expect(model.requests()).toHaveLength(2))
  await model[Symbol.asyncDispose]()
  await second
  await model[Symbol.asyncDispose]()
})

test('delay comes before the first byte, slow between the deltas of a text', async () => {
  const slept: number[] = []
  const clock = { now: () => new Date(0), monotonic: () => 7n, sleep: async (ms: number) => void slept.push(ms) }
  await using model = await start({ clock })
  const names = await eventNames(await post(model, streamed('::delay 70\n::slow 5\n::text one two three\n::text four')))
  expect(names.filter((name) => name === 'content_block_delta')).toHaveLength(4)
  expect(slept).toEqual([70, 5, 5])
  await post(model, ask('::delay 9\n::error 500 api_error'))
  expect(slept).toEqual([70, 5, 5, 9])
  expect(model.requests()[0]?.started_at).toBe('1970-01-01T00:00:00.000Z')
})

test('stamp puts the time before the text of each delta, and before nothing else', async () => {
  let time = 0n
  const clock = { now: () => new Date(0), monotonic: () => ++time, sleep: async () => {} }
  await using model = await start({ clock })
  const stream = client(model).messages.stream(ask('::stamp\n::chunks 3\n::text abcdef\n::tool Bash {"command":"ls"}'))
  const { content } = await stream.finalMessage()
  expect(content[0]).toMatchObject({ type: 'text', text: expect.stringMatching(/^\d+ ab\d+ cd\d+ ef$/) })
  expect(content[1]).toMatchObject({ type: 'tool_use', input: { command: 'ls' } })
})

test('a text of megabytes arrives whole', async () => {
  await using model = await start()
  const message = await client(model).messages.stream(ask('::repeat 300000 lorem ipsum')).finalMessage()
  const text = message.content[0]?.type === 'text' ? message.content[0].text : ''
  expect(text).toBe(Array.from({ length: 300_000 }, () => 'lorem ipsum').join(' '))
})

test('with requireKey another key is refused, in either header; health needs none', async () => {
  await using model = await start({ requireKey: 'right' })
  await expect(client(model, 'wrong').messages.create(ask('x'))).rejects.toBeInstanceOf(APIError)
  expect((await post(model, ask('x'))).status).toBe(401)
  expect((await post(model, ask('x'), { headers: { authorization: 'Bearer right' } })).status).toBe(200)
  expect((await client(model, 'right').messages.create(ask('x'))).type).toBe('message')
  expect((await fetch(`${model.url}/requests`)).status).toBe(401)
  expect((await fetch(`${model.url}/healthz`)).status).toBe(200)
  expect(model.requests()).toHaveLength(2)
})

test('the log says what came in; it is served too, and onRequest sees each call first', async () => {
  const seen: string[] = []
  await using model = await start({
    onRequest: (record) => void seen.push(`${record.n} ${record.prompt} ${record.status}`),
  })
  const headers = { 'x-claude-code-session-id': 's1', 'x-custom': 'a' }
  await (await post(model, ask('Hello\n::text x'), { headers })).text()
  await (await post(model, ask('::error 500 api_error'))).text()
  await vi.waitFor(() => expect(model.requests().map(({ outcome }) => outcome)).toEqual(['complete', 'complete']))
  expect(model.requests()).toMatchObject([
    {
      n: 1,
      session_id: 's1',
      model: 'claude-test',
      step: 0,
      prompt: 'Hello',
      headers: { 'x-custom': 'a' },
      last_user: [{ type: 'text', text: 'Hello\n::text x' }],
      status: 200,
    },
    { n: 2, session_id: null, status: 500 },
  ])
  expect(await (await fetch(`${model.url}/requests`)).json()).toEqual(model.requests())
  expect(seen).toEqual(['1 Hello null', '2 ::error 500 api_error null'])
})

test('the log keeps the newest thousand', async () => {
  await using model = await start()
  for (let i = 0; i < 1003; i += 1) await (await post(model, ask('x'))).text()
  const numbers = model.requests().map(({ n }) => n)
  expect([numbers.length, numbers[0], numbers.at(-1)]).toEqual([1000, 4, 1003])
})

test('an unknown path is a 404 in the envelope', async () => {
  await using model = await start()
  const response = await fetch(`${model.url}/v1/models`)
  expect(response.status).toBe(404)
  expect(await response.json()).toMatchObject({ type: 'error', error: { type: 'not_found_error' } })
})

test('it listens on a unix socket', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sm-'))
  try {
    const path = join(folder, 's')
    await using model = await startScriptedModel({ listen: { path } })
    expect(model.url).toBe(`unix:${path}`)
    const status = await new Promise((resolve, reject) => {
      httpRequest({ socketPath: path, path: '/healthz' }, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end()
    })
    expect(status).toBe(200)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a port that is taken is an error', async () => {
  await using model = await start()
  const listen = { host: '127.0.0.1', port: Number(new URL(model.url).port) }
  await expect(startScriptedModel({ listen })).rejects.toThrow('EADDRINUSE')
})
