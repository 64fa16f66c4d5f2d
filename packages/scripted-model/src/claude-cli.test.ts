import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
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
// The CLI may still write while it ends.
afterAll(() => rm(folder, { recursive: true, maxRetries: 20, retryDelay: 100 }))

function options(more: Options = {}): Options {
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
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: 'dummy',
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

test('after a failed call, a cut answer, a refusal and a compaction', async () => {
  const { results } = await converse([
    'one\n::error 403 permission_error You may not',
    'two\n::text part\n::stop max_tokens\n::next\n::text rest',
    'three\n::text no\n::stop refusal\n::next\n::text rather this',
    'four\n::text {{turns}} {{prompt:1}} {{prompt:4}}',
    '/compact',
    'five\n::text {{turns}} {{prompt:1}}',
  ])
  expect(results).toEqual([
    expect.stringContaining('403 You may not'),
    'rest',
    'rather this',
    '4 one four',
    '',
    '1 five',
  ])
  // Without a summary in the answer the CLI asks for one again.
  expect(model.requests().filter(({ prompt }) => prompt.startsWith('CRITICAL'))).toHaveLength(1)
})

test('a Stop hook and a finished background task lead to the next steps of the script', async () => {
  let stops = 0
  // The task ends after the turn that began it, so that its end is a call of its own.
  const hook = async () => {
    if (++stops === 1) return { decision: 'block' as const, reason: 'Not yet.' }
    await writeFile(join(folder, 'stopped'), '')
    return {}
  }
  const task = JSON.stringify({ command: 'until [ -e stopped ]; do sleep 0.05; done', run_in_background: true })
  const script = `go\n::tool Bash ${task}\n::next\n::text two\n::next\n::text three\n::next\n::text four`
  const texts: string[] = []
  await converse([script], { hooks: { Stop: [{ hooks: [hook] }] } }, (message) => {
    if (message.type !== 'assistant') return
    for (const block of message.message.content) if (block.type === 'text') texts.push(block.text)
  })
  expect(texts).toEqual(['two', 'three', 'four'])
})

/** Resolves when these words are in the session's transcript, which the CLI writes after it has gone on. */
async function writtenDown(sessionId: () => string, words: string): Promise<void> {
  const projects = join(folder, 'config', 'projects')
  const texts = async (): Promise<string> => {
    const files = (await readdir(projects, { recursive: true })).filter((name) => name.endsWith(`${sessionId()}.jsonl`))
    return (await Promise.all(files.map((name) => readFile(join(projects, name), 'utf8')))).join('\n')
  }
  await expect.poll(texts, { timeout: 20_000 }).toContain(words)
}

test('a turn whose CLI was killed goes on: the cut step is answered again, a finished one is not', async () => {
  let cli: ChildProcess | undefined
  const spawnClaudeCodeProcess: Options['spawnClaudeCodeProcess'] = ({ command, args, cwd, env }) =>
    (cli = spawn(command, args, { cwd, env, stdio: ['pipe', 'pipe', 'ignore'] }))
  let sessionId = ''
  const killed = Promise.withResolvers<void>()
  onRequest = ({ step }) => {
    if (step === 1) killed.resolve(writtenDown(() => sessionId, '"tool_result"').finally(() => cli?.kill('SIGKILL')))
  }
  const script = 'go\n::tool Bash {"command":"echo once"}\n::next\n::hang times=1\n::text got {{result}} {{turns}}'
  const cut = converse([script], { spawnClaudeCodeProcess }, (message) => (sessionId = message.session_id ?? sessionId))
  await expect(cut).rejects.toThrow('SIGKILL')
  await killed.promise
  onRequest = () => {}
  const env = { ...options().env, CLAUDE_CODE_RESUME_INTERRUPTED_TURN: '1' }
  const { results } = await converse([], { resume: sessionId, env })
  expect(results).toEqual(['got once 1'])
})

test('a subagent follows the script of its own prompt', async () => {
  const sub = 'sub\n::tool Bash {"command":"echo inner"}\n::next\n::text sub got {{result}}'
  const input = JSON.stringify({
    description: 'd',
    prompt: sub,
    subagent_type: 'general-purpose',
    run_in_background: false,
  })
  const { results } = await converse([`main\n::tool Agent ${input}\n::next\n::text main got {{result}}`])
  expect(results).toEqual([expect.stringMatching(/^main got .*sub got inner/s)])
  const calls = model.requests().map(({ prompt, step, headers }) => [prompt, step, 'x-claude-code-agent-id' in headers])
  expect(calls).toEqual([
    ['main', 0, false],
    ['sub', 0, true],
    ['sub', 1, true],
    ['main', 1, false],
  ])
})

test('the title call is answered, and reads no directives', async () => {
  const titled = Promise.withResolvers<void>()
  onRequest = ({ last_user }) => {
    if (JSON.stringify(last_user).includes('<session>')) titled.resolve()
  }
  const env = { ...options().env, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '' }
  expect((await converse(['Name me\n::text {{turns}}'], { env })).results).toEqual(['1'])
  await titled.promise
  const title = model.requests().find(({ last_user }) => JSON.stringify(last_user).includes('<session>'))
  expect(title).toMatchObject({ status: 200 })
})
