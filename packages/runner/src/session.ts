import type { SDKMessage, SDKUserMessage } from '@anthropic-ai/claude-agent-sdk'
import type { Command, Report, SessionConfig } from '@berth/protocol/link'
import { setImmediate as afterMessages } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { Answers } from './answers.ts'
import type { CliLaunch } from './cli-process.ts'
import { CliRun } from './cli-run.ts'
import type { Exit } from './cli-run.ts'
import type { CustomResult } from './custom-tools.ts'
import { Gate } from './gate.ts'
import { runHeldCalls } from './held-calls.ts'
import { ModelRequests } from './model-requests.ts'
import { restoreTranscript, SessionTranscript } from './session-transcript.ts'
import { userMessage } from './user-message.ts'

/** A session's way to the server. */
export interface SessionLink {
  /** Sends a report for certain; answers its number. */
  readonly report: (body: Report) => number
  /** Sends a partial message if it can. */
  readonly delta: (message: Record<string, unknown>) => void
  /** Resolves when that report is committed. */
  readonly acknowledged: (seq: number, signal: AbortSignal) => Promise<void>
  /** Resolves when more reports may be made. */
  readonly room: (signal: AbortSignal) => Promise<void>
}

/**
 * One session: from its first `open` on it keeps a CLI ready, at the beginning of every turn one with the newest config, and tells the
 * server what that does. Nothing of an earlier CLI is alive when a new one starts after a crash or a `close`.
 */
export class Session implements AsyncDisposable {
  readonly #link: SessionLink
  readonly #launch: CliLaunch
  readonly #gate: Gate
  readonly #requests: ModelRequests
  readonly #results = new Answers<CustomResult>()
  #config: SessionConfig | undefined
  #run: CliRun | undefined
  #inTurn = false
  /** The present turn is to end. A CLI that has not begun it yet passes an interrupt over: it is told again when it begins. */
  #isStopping = false
  /** The config has changed since the CLI was started. */
  #outdated = false
  #transcript: SessionTranscript | undefined
  /** Aborted to stop the calls of the last `run_calls`. */
  #calls = new AbortController()
  /** A message that waits for its lines in the transcript; those behind it wait, too. */
  #withheld: Promise<boolean> | undefined
  /** Calls of the present turn that have a result: an interrupt may end one that is only coming to the gate. */
  readonly #ended = new Set<string>()
  /** Starts, ends and inputs happen one after the other, in the order of their commands. */
  #last: Promise<void> = Promise.resolve()

  constructor(link: SessionLink, launch: CliLaunch) {
    this.#link = link
    this.#launch = launch
    this.#gate = new Gate({
      ...link,
      isStopping: () => {
        if (this.#isStopping) this.#interrupt()
        return this.#isStopping
      },
      taken: async (signal) => {
        while (this.#withheld !== undefined) await this.#withheld.then(() => afterMessages())
        await this.#transcript?.taken(signal)
      },
      report: (body) => {
        if (body.type === 'tool_call' && this.#ended.has(body.tool_use_id)) throw new Error('the call has ended')
        // What led to the call comes before it: a turn that is cut in the call goes on from there.
        this.#transcript?.read()
        return link.report(body)
      },
    })
    this.#requests = new ModelRequests((request) => link.report(request))
  }

  /** undefined: no CLI runs. */
  get cliPid(): number | undefined {
    return this.#run?.pid
  }

  /** Sees to it that a command is carried out, or reports why not. Never throws. */
  handle(command: Command): void {
    switch (command.type) {
      case 'open':
        this.#outdated ||= !sameLife(this.#config, command.config)
        this.#config = command.config
        return this.#then('open', () => {
          this.#transcript ??= this.#follow(command)
          return this.#bringUp()
        })
      case 'restore':
        return this.#then('restore', () => {
          this.#transcript?.[Symbol.dispose]()
          this.#transcript = undefined
          restoreTranscript(command, command, this.#launch.sameUid)
        })
      case 'input':
        return this.#then('input', () => this.#input(command))
      case 'run_calls':
        this.#calls = new AbortController()
        return this.#then('run_calls', () => this.#runCalls(command, this.#calls.signal))
      case 'interrupt':
        this.#calls.abort()
        return this.#then('interrupt', () => this.#interrupt())
      case 'verdict':
        return this.#gate.verdicts.give(command.tool_use_id, command)
      case 'custom_result':
        return this.#results.give(command.tool_use_id, command)
      case 'close':
        this.#calls.abort()
        return this.#then('close', () => this.#close())
    }
  }

  /** Ends everything of the session, without a report. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#calls.abort()
    this.#then('close', () => this.#end())
    await this.#last
    this.#transcript?.[Symbol.dispose]()
  }

  #then(command: Command['type'], task: () => Promise<unknown> | void): void {
    this.#last = this.#last.then(task).then(
      () => undefined,
      (error: unknown) => {
        const detail = error instanceof Error ? error.message : String(error)
        this.#link.report({ type: 'refused', command, detail })
      },
    )
  }

  async #input(command: Command & { type: 'input' }): Promise<void> {
    const message = userMessage(command)
    await this.#bringUp()
    if (this.#run === undefined) return
    this.#inTurn = true
    this.#transcript?.begin(command.uuid)
    this.#run.input(message)
  }

  /** Not awaited: a CLI that does not answer must not hold up its `close`. */
  #interrupt(): void {
    this.#isStopping = this.#inTurn
    void this.#run?.interrupt()
  }

  async #runCalls({ config, calls }: Command & { type: 'run_calls' }, stop: AbortSignal): Promise<void> {
    await this.#end()
    this.#transcript?.[Symbol.dispose]()
    this.#transcript = undefined
    this.#outdated = true
    const exit = await runHeldCalls({ config, calls, launch: this.#launch, link: this.#link }, stop)
    if (exit !== undefined) this.#link.report({ type: 'exited', ...exit })
  }

  #follow({ config, transcripts }: Command & { type: 'open' }): SessionTranscript {
    const { report } = this.#link
    return new SessionTranscript({ config, known: transcripts, sameUid: this.#launch.sameUid, report })
  }

  /** Makes sure that a CLI with the newest config runs, unless a turn is still going on with an older one. */
  async #bringUp(): Promise<void> {
    const config = this.#config
    if (config === undefined) throw new Error('the session has not been opened')
    if (this.#run !== undefined && this.#outdated && !this.#inTurn) {
      const old = this.#run
      this.#run = undefined
      await old.end()
    }
    if (this.#run !== undefined) return
    this.#outdated = false
    this.#gate.configure(config)
    try {
      await this.#start(config)
    } catch (error) {
      this.#link.report({ type: 'exited', ...neverStarted, detail: String(error).slice(0, 4_096) })
    }
  }

  async #start(config: SessionConfig): Promise<void> {
    const run = await CliRun.start({
      config,
      launch: this.#launch,
      gate: this.#gate,
      results: this.#results,
      onMessage: (message, gone) => this.#tell(message, gone),
      onStarted: (pid, cli_version) => void this.#link.report({ type: 'started', pid, cli_version }),
      room: this.#link.room,
    })
    this.#run = run
    void run.finished.then((exit) => this.#then('close', () => this.#gone(run, exit)))
  }

  /** The CLI has ended without being told to. */
  async #gone(run: CliRun, exit: Exit): Promise<void> {
    if (this.#run !== run) return
    await this.#end()
    this.#link.report({ type: 'exited', ...exit })
  }

  async #close(): Promise<void> {
    const exit = await this.#end()
    this.#link.report({ type: 'exited', ...(exit ?? neverStarted), reason: 'closed' })
  }

  async #end(): Promise<Exit | undefined> {
    const run = this.#run
    this.#run = undefined
    this.#inTurn = false
    this.#isStopping = false
    await run?.end()
    await run?.sweep()
    this.#transcript?.close()
    this.#requests.cut()
    return run?.finished
  }

  async #isKept(message: SDKUserMessage, gone: AbortSignal): Promise<boolean> {
    const calls = callsOf(message)
    if (calls.length === 0 || this.#transcript === undefined) return true
    const kept = this.#transcript.holds(calls, gone)
    this.#withheld = kept
    try {
      return await kept
    } finally {
      this.#withheld = undefined
    }
  }

  async #tell(message: SDKMessage, gone: AbortSignal): Promise<void> {
    if (message.type === 'stream_event') {
      if (message.parent_tool_use_id === null) this.#requests.see(message.event)
      return this.#link.delta({ ...message })
    }
    if (message.type === 'result') this.#requests.cut()
    // A call has its result when the conversation has: what is lost before that is a call of unknown outcome.
    if (message.type === 'user' && !(await this.#isKept(message, gone))) return
    // A turn is over when the server has its transcript.
    if (message.type === 'system' && message.subtype === 'session_state_changed' && message.state === 'idle') {
      await this.#transcript?.settle()
    }
    this.#link.report({ type: 'message', message: { ...message } })
    if (message.type === 'user') for (const call of callsOf(message)) this.#ended.add(call)
    if (message.type === 'system' && message.subtype === 'session_state_changed') {
      this.#inTurn = message.state !== 'idle'
      if (this.#inTurn) this.#begun()
      else this.#rest()
    }
  }

  #begun(): void {
    if (this.#isStopping) this.#interrupt()
    this.#transcript?.begin()
  }

  #rest(): void {
    this.#isStopping = false
    this.#ended.clear()
    if (this.#outdated) this.#then('open', () => this.#bringUp())
  }
}

/** The calls of the main conversation whose results the message brings. */
function callsOf({ message, parent_tool_use_id }: SDKUserMessage): string[] {
  if (parent_tool_use_id !== null || typeof message.content === 'string') return []
  return message.content.flatMap((block) => (block.type === 'tool_result' ? [block.tool_use_id] : []))
}

const neverStarted = { reason: 'start_failed', exit_code: null, signal: null, detail: '' } as const

/** Whether a CLI started with the one config serves the other. Whether it was to resume matters only when it started. */
function sameLife(one: SessionConfig | undefined, other: SessionConfig): boolean {
  return one !== undefined && isDeepStrictEqual({ ...one, resume: true }, { ...other, resume: true })
}
