import { query } from '@anthropic-ai/claude-agent-sdk/core'
import type { SDKMessage, SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import type { SessionConfig } from '@berth/protocol/link'
import { z } from 'zod'
import { heldCallOptions } from './agent-options.ts'
import { CliProcess } from './cli-process.ts'
import type { CliLaunch } from './cli-process.ts'
import type { Exit } from './cli-run.ts'
import { InputStream } from './input-stream.ts'

/** How long the CLI may take to start. */
const START_MS = 120_000
/** How long it may take to come to the call then: it does so at once. */
const REACH_MS = 15_000

export interface HeldCallOptions {
  readonly config: SessionConfig
  readonly launch: CliLaunch
  readonly toolUseId: string
  /** Resolves when it is committed that the call begins. Called once. */
  readonly begins: (signal: AbortSignal) => Promise<void>
  /** Given the message with the call's result, once. */
  readonly onResult: (message: SDKMessage) => void
}

const toolResult = z.object({ type: z.literal('tool_result'), tool_use_id: z.string() })
const userContent = z.array(z.union([toolResult, z.unknown().transform(() => undefined)]))

/** A CLI that takes up one call of the transcript, carries it out, and is killed before it tells the model. */
export class HeldCall {
  readonly #options: HeldCallOptions
  readonly #ending: AbortController
  #process: CliProcess | undefined
  #begun: Promise<void> | undefined
  /** One sweep, waited for: a second one could meet the next CLI. */
  #swept: Promise<void> | undefined
  #isDone = false
  #why = ''
  #late: NodeJS.Timeout | undefined

  /** It is killed when `stop` is aborted. */
  constructor(options: HeldCallOptions, stop: AbortSignal) {
    this.#options = options
    this.#ending = new AbortController()
    if (stop.aborted) this.#ending.abort()
    stop.addEventListener('abort', () => this.#ending.abort(), { once: true, signal: this.#ending.signal })
  }

  /** Resolves when nothing of the CLI is left: with nothing after a result, else with how it ended. Rejects when the call was not begun. */
  async run(): Promise<Exit | undefined> {
    this.#limit(START_MS)
    try {
      await this.#read()
    } catch (error) {
      this.#why = String(error)
    } finally {
      clearTimeout(this.#late)
      this.#ending.abort()
    }
    await this.#swept
    const exit = await this.#process?.exited
    if (this.#isDone) return undefined
    const detail = this.#process?.detail || this.#why
    if (this.#begun === undefined)
      throw new Error(`the CLI did not take up the call ${this.#options.toolUseId}: ${detail}`)
    return { reason: 'crashed', exit_code: exit?.code ?? null, signal: exit?.signal ?? null, detail }
  }

  async #read(): Promise<void> {
    const { config, launch } = this.#options
    const messages = query({
      // Open as long as the CLI lives, and nothing ever comes.
      prompt: new InputStream<SDKUserMessage>(),
      options: {
        ...heldCallOptions(config, (name, input, { toolUseID, signal }) =>
          this.#decide({ name, input, toolUseID, signal }),
        ),
        pathToClaudeCodeExecutable: launch.claude,
        spawnClaudeCodeProcess: (spawn) => {
          const child = CliProcess.spawn(spawn, config, launch, () => Promise.resolve())
          this.#process = child
          this.#ending.signal.addEventListener('abort', () => this.#sweep(child), { once: true })
          return child
        },
      },
    })
    this.#ending.signal.throwIfAborted()
    void messages.initializationResult().then(
      () => this.#limit(REACH_MS),
      () => undefined,
    )
    for await (const message of messages) {
      if (message.type === 'result') throw new Error(`it said ${JSON.stringify(message).slice(0, 1_000)}`)
      if (!this.#isResult(message)) continue
      this.#isDone = true
      this.#options.onResult(message)
      return
    }
  }

  #sweep(child: CliProcess): void {
    this.#swept ??= child.sweep()
  }

  /** From now on, the call has to begin within this time. */
  #limit(ms: number): void {
    clearTimeout(this.#late)
    if (this.#ending.signal.aborted || this.#begun !== undefined) return
    this.#late = setTimeout(() => {
      if (this.#begun === undefined) this.#ending.abort()
    }, ms)
  }

  /** The CLI may ask twice for the same call. */
  async #decide(asked: { name: string; input: Record<string, unknown>; toolUseID: string; signal: AbortSignal }) {
    if (asked.toolUseID !== this.#options.toolUseId) {
      return { behavior: 'deny' as const, message: `The tool ${asked.name} is not allowed now.` }
    }
    this.#begun ??= this.#options.begins(this.#ending.signal)
    await this.#begun
    return { behavior: 'allow' as const, updatedInput: asked.input }
  }

  #isResult(message: SDKMessage): boolean {
    if (message.type !== 'user' || message.parent_tool_use_id !== null) return false
    const blocks = userContent.safeParse(message.message.content)
    return blocks.success && blocks.data.some((block) => block?.tool_use_id === this.#options.toolUseId)
  }
}
