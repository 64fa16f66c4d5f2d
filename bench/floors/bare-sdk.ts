/** The Agent SDK alone: `query()` in this process, the CLI as its child, nothing of Berth between them and the model. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type HookCallback,
  query,
  type Query,
  type SDKMessage,
  type SDKUserMessage,
} from '@anthropic-ai/claude-agent-sdk'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { hostPrograms } from '@berth/cli/programs'
import { MODEL, TOOLS } from '../berth.ts'
import type { Turn } from '../turns.ts'

/** One live CLI with streaming input. */
export interface BareSession extends AsyncDisposable {
  readonly pid: number
  /** Sends a prompt and reads to the end of its turn. */
  turn(prompt: string): Promise<Turn>
}

/** Starts the CLI with its first prompt, in a fresh config directory. With `beforeTool`, a hook on every tool calls it and allows the call. */
export async function openBareSession(modelUrl: string, beforeTool?: () => void): Promise<BareSession> {
  const home = await mkdtemp(join(tmpdir(), 'bare-'))
  const inputs = new Inputs()
  let child: ChildProcess | undefined
  let messages: Query | undefined
  const start = (): Query => {
    messages = query({
      prompt: inputs,
      options: {
        ...options(home, modelUrl),
        ...(beforeTool === undefined ? {} : { hooks: { PreToolUse: [{ hooks: [allowAfter(beforeTool)] }] } }),
        spawnClaudeCodeProcess: ({ command, args, env, cwd, signal }) => {
          const started = spawn(command, args, { env, cwd: cwd ?? home, signal, stdio: ['pipe', 'pipe', 'inherit'] })
          child = started
          return started
        },
      },
    })
    return messages
  }
  return {
    get pid() {
      return child?.pid ?? 0
    },
    turn: async (prompt) => {
      inputs.push(prompt)
      return readTurn(messages ?? start())
    },
    [Symbol.asyncDispose]: async () => {
      inputs.end()
      if (child !== undefined && child.exitCode === null) {
        const exited = once(child, 'exit')
        child.kill('SIGINT')
        await exited
      }
      messages?.close()
      await rm(home, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** The same agent as in a sandbox, in the quiet environment; hooks and permissions are Berth's own and absent here. */
function options(home: string, modelUrl: string): NonNullable<Parameters<typeof query>[0]['options']> {
  return {
    pathToClaudeCodeExecutable: hostPrograms().claude,
    cwd: home,
    model: MODEL,
    tools: TOOLS,
    settingSources: [],
    permissionMode: 'bypassPermissions',
    allowDangerouslySkipPermissions: true,
    includePartialMessages: true,
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      LANG: 'C.UTF-8',
      TERM: 'dumb',
      HOME: home,
      TMPDIR: home,
      CLAUDE_CODE_TMPDIR: home,
      CLAUDE_CONFIG_DIR: join(home, '.claude'),
      IS_SANDBOX: '1',
      ANTHROPIC_BASE_URL: modelUrl,
      ANTHROPIC_API_KEY: 'scripted',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      CLAUDE_CODE_DISABLE_AUTO_MEMORY: '1',
      DISABLE_TELEMETRY: '1',
      DISABLE_ERROR_REPORTING: '1',
      DISABLE_AUTOUPDATER: '1',
    },
  }
}

function allowAfter(beforeTool: () => void): HookCallback {
  return () => {
    beforeTool()
    return Promise.resolve({
      hookSpecificOutput: { hookEventName: 'PreToolUse', permissionDecision: 'allow' },
    })
  }
}

async function readTurn(messages: AsyncIterator<SDKMessage>): Promise<Turn> {
  const deltas: { at: number; text: string }[] = []
  let firstText: number | undefined
  for (;;) {
    const next = await messages.next()
    const at = performance.now()
    if (next.done === true) throw new Error('the bare SDK ended inside a turn')
    const message = next.value
    if (message.type === 'stream_event' && message.event.type === 'content_block_delta') {
      const { delta } = message.event
      if (delta.type !== 'text_delta') continue
      firstText ??= at
      deltas.push({ at, text: delta.text })
    } else if (message.type === 'result') {
      if (message.is_error) throw new Error(JSON.stringify(message))
      return { firstText: firstText ?? at, idle: at, deltas }
    }
  }
}

/** Prompts as the SDK reads them. */
class Inputs implements AsyncIterable<SDKUserMessage> {
  readonly #waiting: string[] = []
  #wake = Promise.withResolvers<void>()
  #ended = false

  push(prompt: string): void {
    this.#waiting.push(prompt)
    this.#wake.resolve()
  }

  end(): void {
    this.#ended = true
    this.#wake.resolve()
  }

  async *[Symbol.asyncIterator](): AsyncIterator<SDKUserMessage> {
    for (;;) {
      const prompt = this.#waiting.shift()
      if (prompt !== undefined) {
        yield { type: 'user', message: { role: 'user', content: prompt }, parent_tool_use_id: null }
      } else if (this.#ended) return
      else {
        await this.#wake.promise
        this.#wake = Promise.withResolvers()
      }
    }
  }
}
