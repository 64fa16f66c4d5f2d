import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { query, type Options, type Query, type SDKMessage, type SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { RequestRecord } from './request-log.ts'
import { startScriptedModel, type ScriptedModel } from './server.ts'

// What the real CLI sends decides what a prompt and a step are: these tests fail when a new version of it sends something else.

let folder: string
let model: ScriptedModel

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sm-'))
})
let onRequest: (record: RequestRecord) => void

beforeEach(async () => {
  onRequest = () => {}
  const listen = { host: '127.0.0.1', port: 0 }
  model = await startScriptedModel({ listen, onRequest: (record) => onRequest(record) })
  return () => model[Symbol.asyncDispose]()
})
afterAll(() => rm(folder, { recursive: true }))

function options(
  more: Options = {},
  env: Record<string, string> = { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' },
): Options {
  return {
    cwd: folder,
    settingSources: [],
    permissionMode: 'bypassPermissions',
    allowDangerouslySkipPermissions: true,
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      HOME: folder,
      IS_SANDBOX: '1',
      CLAUDE_CONFIG_DIR: join(folder, 'config'),
      CLAUDE_CODE_TMPDIR: folder,
      CLAUDE_CODE_DISABLE_AUTO_MEMORY: '1',
      DISABLE_TELEMETRY: '1',
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: 'dummy',
      ...env,
    },
    ...more,
  }
}

const userMessage = (content: string): SDKUserMessage => ({
  type: 'user',
  message: { role: 'user', content },
  parent_tool_use_id: null,
})

type Observer = (message: SDKMessage, session: Query) => void

/** Says the prompts one after another, each when the one before has its result; returns the last text or error of each. */
async function converse(prompts: string[], more: Options = {}, observe: Observer = () => {}) {
  let answered = Promise.withResolvers<void>()
  async function* input() {
    for (const prompt of prompts) {
      yield userMessage(prompt)
      await answered.promise
      answered = Promise.withResolvers()
    }
  }
  const results: string[] = []
  let sessionId = ''
  const session = query({ prompt: input(), options: options(more) })
  for await (const message of session) {
    observe(message, session)
    if (message.type !== 'result') continue
    sessionId = message.session_id
    results.push(message.subtype === 'success' ? message.result : message.subtype)
    answered.resolve()
  }
  return { results, sessionId }
}

test('turns, parallel tool calls and history; then the same session resumed', async () => {
  const { results, sessionId } = await converse([
    'one\n::thinking hm\n::text a\n::tool Bash {"command":"echo x"}\n::tool Bash {"command":"echo y"}\n::next\n::text {{result:1}} {{result}}',
    'two',
    'three\n::text {{turns}} {{prompt:1}} {{prompt:2}}',
  ])
  expect(results).toEqual(['x y', expect.stringContaining('You said: "two". This is the scripted model'), '3 one two'])
  const resumed = await converse(['four\n::text {{turns}} {{prompt:3}}'], { resume: sessionId })
  expect(resumed.results).toEqual(['4 three'])
  expect(model.requests().map(({ session_id, prompt, step }) => [session_id, prompt, step])).toEqual([
    [sessionId, 'one', 0],
    [sessionId, 'one', 1],
    [sessionId, 'two', 0],
    [sessionId, 'three', 0],
    [sessionId, 'four', 0],
  ])
})

test('interrupted in a stream, in a tool and before any answer: the next prompt has its own script', async () => {
  let session: Query | undefined
  onRequest = ({ prompt }) => {
    if (prompt === 'third') void session?.interrupt()
  }
  const { results } = await converse(
    [
      'first\n::stall 4\n::text some words',
      'second\n::tool Bash {"command":"while :; do :; done"}\n::next\n::text never',
      'third\n::hang',
      'last\n::text {{turns}} {{prompt:1}} {{prompt:2}} {{prompt:3}}',
    ],
    { includePartialMessages: true },
    (message, current) => {
      session = current
      const words =
        message.type === 'stream_event' &&
        message.event.type === 'content_block_delta' &&
        message.event.delta.type === 'text_delta'
      const call = message.type === 'assistant' && message.message.content.some((block) => block.type === 'tool_use')
      if ((words && model.requests().at(-1)?.prompt === 'first') || call) void current.interrupt()
    },
  )
  expect(results).toEqual([
    'error_during_execution',
    'error_during_execution',
    'error_during_execution',
    '4 first second third',
  ])
})
