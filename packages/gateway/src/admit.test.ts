import { describe, expect, test } from 'vitest'
import { admit, type Endpoint, type Policy } from './admit.ts'
import { filterBetas } from './betas.ts'
import { Refusal } from './refusal.ts'

const open: Policy = { models: null, server_tools: [] }
const base = { model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] }

function run(body: unknown, policy: Policy = open, endpoint: Endpoint = 'messages'): unknown {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return JSON.parse(admit(Buffer.from(text), endpoint, policy).body.toString())
}

function refusal(body: unknown, policy?: Policy, endpoint?: Endpoint): Refusal {
  try {
    run(body, policy, endpoint)
  } catch (error) {
    if (error instanceof Refusal) return error
    throw error
  }
  throw new Error('was admitted')
}

const withBlock = (block: unknown, role = 'user') => ({ ...base, messages: [{ role, content: [block] }] })
const url = { type: 'url', url: 'http://169.254.169.254/' }

describe('what the CLI sends', () => {
  test('goes through unchanged', () => {
    const body = {
      model: 'claude-opus-5-5',
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'hi', cache_control: { type: 'ephemeral' } }] },
        { role: 'system', content: [{ type: 'text', text: 'reminder' }] },
        { role: 'system', content: [{ type: 'tool_addition', tool: { type: 'tool_reference', name: 'WebFetch' } }] },
        {
          role: 'system',
          content: [
            {
              type: 'tool_addition',
              tool: {
                type: 'tool_definition',
                definition: {
                  name: 'X',
                  input_schema: { properties: { file_id: { type: 'string' }, source: { type: 'string' } } },
                },
              },
            },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: '…', signature: 'sig' },
            {
              type: 'tool_use',
              id: 't1',
              name: 'Read',
              input: { type: 'file', file_id: 'f', source: url, container: 1 },
            },
          ],
        },
        {
          role: 'user',
          content: [
            {
              type: 'tool_result',
              tool_use_id: 't1',
              content: [
                { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AA==' } },
                { type: 'tool_reference', tool_name: 'X' },
              ],
            },
            { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'x' }] } },
            {
              type: 'search_result',
              source: 'https://example.com',
              title: 't',
              content: [{ type: 'text', text: 'x' }],
            },
          ],
        },
      ],
      max_tokens: 128000,
      system: [{ type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1.330.d01;' }],
      tools: [
        { name: 'Bash', description: 'd', input_schema: { type: 'object', properties: { file_id: { type: 'file' } } } },
        { name: 'P', description: 'd', input_schema: {}, defer_loading: true },
        { type: 'memory_20250818', name: 'memory' },
      ],
      metadata: { user_id: '{"device_id":"x"}' },
      thinking: { type: 'adaptive', display: 'updates' },
      context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
      safeguards: [{ type: 'dangerous_tool_use', classifier_context: { v: 1 } }],
      output_config: { effort: 'high', task_budget: { type: 'tokens', total: 100_000 } },
      service_tier: 'auto',
      stream: true,
    }
    expect(run(body)).toEqual(body)
  })

  test('counting needs no max_tokens, asking does', () => {
    const { max_tokens: _, ...body } = base
    expect(run(body, open, 'count_tokens')).toEqual(body)
    expect(refusal(body).message).toContain('max_tokens')
  })
})

describe('what is refused', () => {
  test.each<[string, unknown]>([
    ['mcp_servers', { ...base, mcp_servers: [{ type: 'url', url: 'https://evil' }] }],
    ['container', { ...base, container: 'container_1' }],
    ['thread', { ...base, thread: { type: 'continue', previous_message_id: 'msg_other' } }],
    ['diagnostics', { ...base, diagnostics: { previous_message_id: 'msg_other' } }],
    ['billing_policy', { ...base, billing_policy: {} }],
    ['inference_geo', { ...base, inference_geo: 'us' }],
    ['user_profile_id', { ...base, user_profile_id: 'u' }],
    ['speed', { ...base, speed: 'fast' }],
    ['a safeguard it does not know', { ...base, safeguards: [{ type: 'call_home' }] }],
    ['a new field', { ...base, brand_new: 1 }],
    ['an edit it does not know', { ...base, context_management: { edits: [{ type: 'run_code_20270101' }] } }],
    ['an image by URL', withBlock({ type: 'image', source: url })],
    ['an image by file', withBlock({ type: 'image', source: { type: 'file', file_id: 'file_1' } })],
    ['a document by URL', withBlock({ type: 'document', source: url })],
    ['a document in a system prompt', { ...base, system: [{ type: 'document', source: url }] }],
    [
      'a URL inside a tool result',
      withBlock({ type: 'tool_result', tool_use_id: 't', content: [{ type: 'image', source: url }] }),
    ],
    [
      'a URL inside a document',
      withBlock({ type: 'document', source: { type: 'content', content: [{ type: 'image', source: url }] } }),
    ],
    ['a URL in a field of a text', withBlock({ type: 'text', text: 'x', extra: [{ source: url }] })],
    ['a source that is a list', withBlock({ type: 'image', source: [url] })],
    ['a source without a type', withBlock({ type: 'image', source: { url: 'http://x' } })],
    ['a container upload', withBlock({ type: 'container_upload', file_id: 'file_1' })],
    ['a nested container upload', withBlock({ type: 'tool_result', content: [{ type: 'container_upload', x: 1 }] })],
    [
      'a file id in a result',
      withBlock({ type: 'code_execution_tool_result', content: { content: [{ file_id: 'f' }] } }),
    ],
    ['MCP calls', withBlock({ type: 'mcp_tool_use', id: 't', server_name: 's', input: {} }, 'assistant')],
    ['an unknown block', withBlock({ type: 'teleport' })],
    ['a block without a type', withBlock({ text: 'x' })],
    ['web search', { ...base, tools: [{ type: 'web_search_20250305', name: 'web_search' }] }],
    ['code execution', { ...base, tools: [{ type: 'code_execution_20260521', name: 'code_execution' }] }],
    ['an MCP toolset', { ...base, tools: [{ type: 'mcp_toolset', mcp_server_name: 's' }] }],
    ['a type that only begins well', { ...base, tools: [{ type: 'bash_20250124_web', name: 'x' }] }],
    [
      'a server tool added later',
      withBlock(
        { type: 'tool_addition', tool: { type: 'tool_definition', definition: { type: 'web_fetch_20260318' } } },
        'system',
      ),
    ],
    [
      'an MCP tool added later',
      withBlock({ type: 'tool_addition', tool: { type: 'mcp_toolset_reference', server_name: 's' } }),
    ],
    ['a role', { ...base, messages: [{ role: 'tool', content: 'x' }] }],
    ['content of another kind', { ...base, messages: [{ role: 'user', content: { type: 'image', source: url } }] }],
    ['no object', '[]'],
    ['no JSON', '{"model":"m"'],
    ['two documents', `${JSON.stringify(base)}{}`],
    ['a byte order mark', `\ufeff${JSON.stringify(base)}`],
  ])('%s', (_name, body) => {
    expect(refusal(body)).toMatchObject({ status: 400, type: 'invalid_request_error', retry: false })
  })

  test('broken UTF-8', () => {
    const body = Buffer.concat([Buffer.from('{"model":"'), Buffer.from([0xff]), Buffer.from('"}')])
    expect(() => admit(body, 'messages', open)).toThrow(Refusal)
  })

  test('depth that would exhaust the stack', () => {
    const deep = (open: string, close: string) => `${open.repeat(200_000)}1${close.repeat(200_000)}`
    const text = JSON.stringify(withBlock({ type: 'text', text: 'x', extra: 'DEEP' }))
    const call = JSON.stringify(withBlock({ type: 'tool_use', id: 't', name: 'n', input: 'DEEP' }))
    expect(refusal(text.replace('"DEEP"', deep('[', ']'))).status).toBe(400)
    expect(refusal(call.replace('"DEEP"', deep('[', ']'))).status).toBe(400)
    expect(refusal(text.replace('"DEEP"', deep('{"a":', '}'))).status).toBe(400)
  })
})

describe('one reading', () => {
  test('of a name given twice the examined value is sent', () => {
    const text = '{"model":"evil","model":"m","max_tokens":5,"messages":[],"messages":[{"role":"user","content":"b"}]}'
    expect(run(text, { ...open, models: ['m'] })).toEqual({
      model: 'm',
      max_tokens: 5,
      messages: [{ role: 'user', content: 'b' }],
    })
    expect(
      refusal(text.replace('"model":"evil","model":"m"', '"model":"m","model":"evil"'), { ...open, models: ['m'] })
        .status,
    ).toBe(404)
  })

  test('escaped names are names', () => {
    expect(refusal(JSON.stringify(base).replace('"max_tokens"', '"mcp_\\u0073ervers":[],"max_tokens"')).status).toBe(
      400,
    )
  })

  test('__proto__ hides nothing', () => {
    const text = JSON.stringify({ ...base, tools: [{ name: 'x' }] })
    expect(refusal(text.replace('"max_tokens"', '"__proto__":{"mcp_servers":[]},"max_tokens"')).status).toBe(400)
    const sent = JSON.stringify(
      run(text.replace('"name":"x"', '"name":"x","__proto__":{"type":"web_search_20250305"}')),
    )
    expect(sent).not.toContain('web_search')
    const block = JSON.stringify(withBlock({ type: 'image', X: 1 })).replace(
      '"X":1',
      `"__proto__":{"source":${JSON.stringify(url)}}`,
    )
    expect(JSON.stringify(run(block))).not.toContain('169.254')
  })
})

describe('what the route allows', () => {
  const limited: Policy = { models: ['m', 'n'], server_tools: ['web_search'] }

  test('models, in every place where one is named', () => {
    expect(run(base, limited)).toEqual(base)
    expect(refusal({ ...base, model: 'o' }, limited)).toMatchObject({
      status: 404,
      type: 'not_found_error',
      retry: false,
    })
    expect(run({ ...base, fallbacks: [{ model: 'n' }] }, limited)).toBeTruthy()
    expect(refusal({ ...base, fallbacks: [{ model: 'o' }] }, limited).status).toBe(404)
    expect(refusal({ ...base, fallbacks: 'default' }, limited).status).toBe(400)
    const advisor = { ...base, tools: [{ type: 'advisor_20260301', name: 'advisor', model: 'o' }] }
    expect(refusal(advisor, { models: ['m'], server_tools: ['advisor_'] }).status).toBe(404)
  })

  test('server tools by prefix; an empty prefix allows none', () => {
    const search = { ...base, tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 8 }] }
    expect(run(search, limited)).toEqual(search)
    expect(refusal(search, { models: null, server_tools: [''] }).status).toBe(400)
    expect(
      refusal({ ...base, tools: [{ type: 'mcp_toolset' }] }, { models: null, server_tools: ['mcp_'] }).status,
    ).toBe(400)
  })
})

describe('betas', () => {
  const sent =
    'claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,per-turn-control-2026-07-01,' +
    'mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,effort-2025-11-24,' +
    'thinking-display-updates-2026-08-18'

  test('those of the CLI pass, unknown ones are dropped', () => {
    expect(filterBetas(sent, [])).toBe(sent)
    expect(filterBetas(`new-thing-2027-01-01, ${sent} ,`, [])).toBe(sent)
    expect(filterBetas('new-thing-2027-01-01', [])).toBeUndefined()
    expect(filterBetas(undefined, [])).toBeUndefined()
  })

  test.each([
    'files-api-2025-04-14',
    'mcp-client-2026-09-15',
    'skills-2025-10-02',
    'code-execution-2025-08-25',
    'Files-API-2099-01-01',
  ])('%s is refused', (beta) => {
    expect(() => filterBetas(`${sent}, ${beta}`, [])).toThrow(Refusal)
  })

  test('those of a server tool pass with the tool', () => {
    expect(filterBetas('code-execution-2025-08-25', ['code_execution_'])).toBe('code-execution-2025-08-25')
    expect(filterBetas('web-fetch-2025-09-10', ['web_fetch'])).toBe('web-fetch-2025-09-10')
  })
})
