import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Options, query } from '@anthropic-ai/claude-agent-sdk'
import { expect, test } from 'vitest'
import { makeRoute, runGateway, temporary } from './fixture/running-gateway.ts'
import { answerShortly, messageStart, shortAnswer, sse, startUpstream } from './fixture/upstream-server.ts'

function toolCall(name: string, input: unknown): string {
  return [
    messageStart('claude-opus-5-5', { input_tokens: 100, output_tokens: 1 }),
    sse('content_block_start', { index: 0, content_block: { type: 'tool_use', id: 'toolu_1', name, input: {} } }),
    sse('content_block_delta', { index: 0, delta: { type: 'input_json_delta', partial_json: JSON.stringify(input) } }),
    sse('content_block_stop', { index: 0 }),
    sse('message_delta', { delta: { stop_reason: 'tool_use', stop_sequence: null }, usage: { output_tokens: 20 } }),
    sse('message_stop'),
  ].join('')
}

interface Run {
  readonly socket: string
  readonly home: string
  readonly tools: string[]
  readonly options?: Options
}

async function ask({ socket, home, tools, options }: Run) {
  const results = []
  const conversation = query({
    prompt: 'go',
    options: {
      cwd: home,
      tools,
      model: 'claude-opus-5-5',
      settingSources: [],
      permissionMode: 'bypassPermissions',
      allowDangerouslySkipPermissions: true,
      env: {
        PATH: '/usr/bin:/bin',
        HOME: home,
        CLAUDE_CONFIG_DIR: join(home, 'config'),
        CLAUDE_CODE_TMPDIR: home,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        CLAUDE_CODE_DISABLE_AUTO_MEMORY: '1',
        IS_SANDBOX: '1',
        ANTHROPIC_BASE_URL: 'http://gateway',
        ANTHROPIC_UNIX_SOCKET: socket,
        ANTHROPIC_API_KEY: 'none',
      },
      ...options,
    },
  })
  try {
    for await (const message of conversation) if (message.type === 'result') results.push(message)
  } catch (error) {
    if (results.length === 0) throw error
  }
  return results
}

test('the real CLI does a tool turn through the gateway, and the ledger has it', async () => {
  await using directory = await temporary()
  const file = join(directory.path, 'made.txt')
  await using upstream = await startUpstream((response, { body }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': 'req_up' })
    const used = body.includes('"tool_result"')
    response.end(used ? shortAnswer('claude-opus-5-5', 'done') : toolCall('Bash', { command: `echo hello > ${file}` }))
  })
  const env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k-real-1' }
  await using gateway = await runGateway(join(directory.path, 'state'), env)
  const route = await makeRoute(directory.path, 's', { models: ['claude-opus-5-5'] })
  await gateway.client.route('s', route)
  const results = await ask({ socket: route.socket_path, home: directory.path, tools: ['Bash'] })
  expect(results).toMatchObject([{ subtype: 'success', is_error: false, result: 'done' }])
  expect(await readFile(file, 'utf8')).toBe('hello\n')
  expect(upstream.received.map(({ headers }) => headers['x-api-key'])).toEqual(['k-real-1', 'k-real-1'])
  expect((await gateway.client.usage('s')).models).toMatchObject([
    { model: 'claude-opus-5-5', requests: 2, input_tokens: 110, output_tokens: 25 },
  ])
})

test('the real CLI’s options that change the request are admitted', async () => {
  await using directory = await temporary()
  await using upstream = await startUpstream(answerShortly)
  const env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k-real-1' }
  await using gateway = await runGateway(join(directory.path, 'state'), env)
  const route = await makeRoute(directory.path, 's')
  await gateway.client.route('s', route)
  const given: Options[] = [
    { permissionMode: 'plan', effort: 'high', taskBudget: { total: 100_000 }, betas: ['context-1m-2025-08-07'] },
    { permissionMode: 'auto', systemPrompt: { type: 'preset', preset: 'claude_code' }, maxThinkingTokens: 4000 },
  ]
  for (const options of given) {
    const results = await ask({
      socket: route.socket_path,
      home: directory.path,
      tools: ['Read', 'ToolSearch'],
      options,
    })
    expect(results).toMatchObject([{ is_error: false, result: 'ok' }])
  }
  const [planned, auto] = upstream.received
  expect(planned?.headers['anthropic-beta']).toContain('context-1m-2025-08-07')
  expect(planned?.body).toContain('"task_budget"')
  expect(auto?.body).toContain('"dangerous_tool_use"')
  expect(gateway.output()).not.toContain('refused')
})

test('the real CLI stops at once when the budget is reached, and has made one call too many at most', async () => {
  await using directory = await temporary()
  await using upstream = await startUpstream((response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': 'req_up' })
    // 100 tokens in and 20 out, by the price of Opus 5.5: 400,000 + 400,000 nano-dollars.
    response.end(toolCall('Bash', { command: 'true' }))
  })
  const env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k-real-1' }
  await using gateway = await runGateway(join(directory.path, 'state'), env)
  const budget = { max_list_cost: 2_000_000, active_ms: 0, active_since: null }
  const route = await makeRoute(directory.path, 's', { budget })
  await gateway.client.route('s', route)
  const results = await ask({ socket: route.socket_path, home: directory.path, tools: ['Bash'] })
  expect(results).toMatchObject([{ is_error: true, api_error_status: 402 }])
  expect(upstream.received).toHaveLength(3)
  const usage = await gateway.client.usage('s')
  expect(usage).toMatchObject({ stopped: 'budget', models: [{ requests: 3, list_cost: 2_400_000 }] })
})

test('the real CLI gives up at once when the key is refused', async () => {
  await using directory = await temporary()
  const error = { type: 'error', error: { type: 'authentication_error', message: 'invalid x-api-key' } }
  await using upstream = await startUpstream((response) => {
    response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(error))
  })
  const env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k-real-1' }
  await using gateway = await runGateway(join(directory.path, 'state'), env)
  const route = await makeRoute(directory.path, 's')
  await gateway.client.route('s', route)
  const [result] = await ask({ socket: route.socket_path, home: directory.path, tools: [] })
  expect(result).toMatchObject({ is_error: true, terminal_reason: 'api_error', api_error_status: 401 })
  expect(upstream.received).toHaveLength(1)
})

test('the real CLI’s web search goes through where the session may use it, and only there', async () => {
  await using directory = await temporary()
  await using upstream = await startUpstream((response, { body }) => {
    if (body.includes('"web_search_20250305"') || body.includes('"tool_result"')) return answerShortly(response)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(toolCall('WebSearch', { query: 'berths' }))
  })
  const env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k-real-1' }
  await using gateway = await runGateway(join(directory.path, 'state'), env)
  const searches = () => upstream.received.filter(({ body }) => body.includes('"web_search_20250305"')).length
  for (const [id, server_tools, expected] of [
    ['without', [], 0],
    ['with', ['web_search'], 1],
  ] as const) {
    const route = await makeRoute(directory.path, id, { server_tools: [...server_tools] })
    await gateway.client.route(id, route)
    const results = await ask({ socket: route.socket_path, home: directory.path, tools: ['WebSearch'] })
    expect(results).toMatchObject([{ is_error: false, result: 'ok' }])
    expect(searches()).toBe(expected)
  }
})
