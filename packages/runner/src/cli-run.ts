import { query } from '@anthropic-ai/claude-agent-sdk/core'
import type { Query, SDKMessage, SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import type { Report, SessionConfig } from '@berth/protocol/link'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { agentOptions } from './agent-options.ts'
import type { Answers } from './answers.ts'
import { CliProcess } from './cli-process.ts'
import type { CliLaunch } from './cli-process.ts'
import type { CustomResult } from './custom-tools.ts'
import type { Gate } from './gate.ts'
import { InputStream } from './input-stream.ts'
import type { RemoteServers } from './mcp/remote-servers.ts'
import { ProjectConfig } from './project-config.ts'
import { watchForStop } from './stop-watch.ts'

/** After the CLI's exit its last messages are read for this long at most: something else may hold its output open. */
const DRAIN_MS = 2_000
/** How long a turn may go on after it was interrupted. */
const INTERRUPT_MS = 10_000

export interface CliRunOptions {
  readonly config: SessionConfig
  readonly remotes: RemoteServers | undefined
  readonly launch: CliLaunch
  readonly gate: Gate
  readonly results: Answers<CustomResult>
  /** The next message waits until it resolves. */
  readonly onMessage: (message: SDKMessage, gone: AbortSignal) => Promise<void>
  /** Called once, when the CLI has taken its configuration. */
  readonly onStarted: (pid: number, version: string) => void
  /** Resolves when there is room for more messages. */
  readonly room: (signal: AbortSignal) => Promise<void>
  /** Does the session stand still for a job of the runner's own? */
  readonly isFrozen: () => boolean
}

export type Exit = Omit<Report & { type: 'exited' }, 'type'>
/** Of a CLI that there never was. */
export const neverStarted = { reason: 'start_failed', exit_code: null, signal: null, detail: '' } as const

const initialized = z.object({ claude_code_version: z.string() })

/** One life of one CLI process, from its start to its exit. */
export class CliRun {
  /** Resolves, never rejects, when the CLI is gone and its last message was handed on. */
  readonly finished: Promise<Exit>
  readonly #process: CliProcess
  readonly #query: Query
  readonly #inputs: InputStream<SDKUserMessage>
  /** Aborted when messages need not wait for room any more: what is still to come is little. */
  readonly #draining: AbortController
  readonly #project: ProjectConfig
  readonly #watch: Disposable
  #ending = false
  #started = false
  /** Runs while a turn is to end. */
  #deadline: NodeJS.Timeout | undefined

  private constructor(options: CliRunOptions, life: Life) {
    this.#process = life.process
    this.#query = life.query
    this.#inputs = life.inputs
    this.#draining = life.draining
    this.#project = life.project
    this.#watch = watchForStop({
      pid: this.#process.pid,
      isFrozen: options.isFrozen,
      onStopped: () => this.#process.abandon('the agent process was stopped, and nobody let it go on'),
    })
    this.finished = this.#live(options.onMessage)
    void this.#initialize(options.onStarted)
  }

  /** Starts it. Rejects when the SDK will not have the options; a CLI that cannot run shows as an exit. */
  static async start(options: CliRunOptions): Promise<CliRun> {
    const { config, launch, room } = options
    using making = new DisposableStack()
    const project = making.use(new ProjectConfig(config, launch.sameUid))
    const agent = await agentOptions({ ...options, projectRoot: project.root })
    const draining = new AbortController()
    const inputs = new InputStream<SDKUserMessage>()
    const spawned: CliProcess[] = []
    const running = query({
      prompt: inputs,
      options: {
        ...agent,
        pathToClaudeCodeExecutable: launch.claude,
        spawnClaudeCodeProcess: (spawn) => {
          const child = CliProcess.spawn(spawn, config, launch, () => room(draining.signal))
          spawned.push(child)
          return child
        },
      },
    })
    const [process] = spawned
    if (process === undefined) throw new Error('the Agent SDK did not start the CLI')
    making.move()
    return new CliRun(options, { process, query: running, inputs, draining, project })
  }

  get pid(): number {
    return this.#process.pid
  }

  /** Is it configured by files that have changed since? */
  get isOutdated(): boolean {
    return this.#project.isOutdated
  }

  input(message: SDKUserMessage): void {
    this.#inputs.push(message)
  }

  /**
   * Stops the turn, if it is in one. The CLI withdraws the calls that wait, which releases them. Never throws: a CLI that is gone has stopped.
   * One that does not end its turn, because its agent has stopped it or worse, is killed.
   */
  async interrupt(isInTurn: boolean): Promise<void> {
    if (isInTurn) {
      const late = (): void => this.#process.abandon('the agent process did not end its turn when it was interrupted')
      this.#deadline ??= setTimeout(late, INTERRUPT_MS)
    }
    await this.#query.interrupt().catch(() => undefined)
  }

  /** Ends the CLI and waits for `finished`. What it left running stays. Idempotent. */
  async end(): Promise<void> {
    this.#ending = true
    this.#draining.abort()
    await this.#process.end()
    await this.finished
  }

  /** Kills what the CLI left running. */
  async sweep(): Promise<void> {
    await this.#process.sweep()
  }

  async #initialize(onStarted: CliRunOptions['onStarted']): Promise<void> {
    try {
      const result = initialized.safeParse(await this.#query.initializationResult())
      this.#started = true
      onStarted(this.#process.pid, result.data?.claude_code_version ?? 'unknown')
    } catch {
      // The messages end too; their end says why.
    }
  }

  async #live(onMessage: CliRunOptions['onMessage']): Promise<Exit> {
    let failure = ''
    const messages = this.#read(onMessage).catch((error: unknown) => {
      failure = String(error)
    })
    await Promise.race([messages, this.#process.exited])
    // A CLI whose messages have ended is of no use; one that has exited may have written some that are yet to be read.
    const reason = this.#ending ? 'closed' : this.#started ? 'crashed' : 'start_failed'
    await this.#process.end()
    this.#draining.abort()
    await Promise.race([messages, sleep(DRAIN_MS, undefined, { ref: false })])
    const { code, signal } = await this.#process.exited
    this.#watch[Symbol.dispose]()
    this.#project[Symbol.dispose]()
    clearTimeout(this.#deadline)
    return { reason, exit_code: code, signal, detail: this.#process.detail || failure }
  }

  async #read(onMessage: CliRunOptions['onMessage']): Promise<void> {
    const gone = new AbortController()
    void this.#process.exited.then(() => gone.abort())
    for await (const message of this.#query) {
      if (message.type === 'system' && message.subtype === 'session_state_changed' && message.state === 'idle') {
        clearTimeout(this.#deadline)
        this.#deadline = undefined
      }
      await onMessage(message, gone.signal)
    }
  }
}

interface Life {
  readonly process: CliProcess
  readonly query: Query
  readonly inputs: InputStream<SDKUserMessage>
  readonly draining: AbortController
  readonly project: ProjectConfig
}
