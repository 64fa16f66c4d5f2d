import type { SDKMessage } from '@anthropic-ai/claude-agent-sdk'
import type { Command, SessionConfig } from '@berth/protocol/link'
import { Answers } from './answers.ts'
import { callsOf } from './calls-of.ts'
import type { CliLaunch } from './cli-process.ts'
import { CliRun, neverStarted } from './cli-run.ts'
import type { Exit } from './cli-run.ts'
import type { CustomResult } from './custom-tools.ts'
import { Gate } from './gate.ts'
import { runHeldCalls } from './held-calls.ts'
import { ModelRequests } from './model-requests.ts'
import { LazyRemotes } from './mcp/lazy-remotes.ts'
import { makeOwnDirs } from './own-dirs.ts'
import { sameLife } from './same-life.ts'
import type { SessionLink } from './session-link.ts'
import { restoreTranscript, SessionTranscript } from './session-transcript.ts'
import { ToldResults } from './told-results.ts'
import { userMessage } from './user-message.ts'
import { WayOut } from './way-out.ts'

/**
 * One session: from its first `open` on it keeps a CLI ready, at the beginning of every turn one with the newest config, and tells the
 * server what that does. Nothing of an earlier CLI is alive when a new one starts after a crash or a `close`.
 */
export class Session implements AsyncDisposable {
  readonly #link: SessionLink
  readonly #launch: CliLaunch
  readonly #isFrozen: (uid: number) => boolean
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
  readonly #wayOut = new WayOut()
  readonly #remotes: LazyRemotes
  /** Aborted to stop the calls of the last `run_calls`. */
  #calls = new AbortController()
  readonly #told = new ToldResults()
  /** Calls of the present turn that have a result: an interrupt may end one that is only coming to the gate. */
  readonly #ended = new Set<string>()
  /** Starts, ends and inputs happen one after the other, in the order of their commands. */
  #last: Promise<void> = Promise.resolve()

  /** `isFrozen`: whether a job of the runner's has stopped the processes of a uid. */
  constructor(link: SessionLink, launch: CliLaunch, isFrozen: (uid: number) => boolean) {
    this.#link = link
    this.#launch = launch
    this.#isFrozen = isFrozen
    this.#remotes = new LazyRemotes(link.report)
    this.#gate = new Gate({
      ...link,
      isStopping: () => {
        if (this.#isStopping) this.#interrupt()
        return this.#isStopping
      },
      taken: async (signal) => {
        await this.#told.settled()
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
        return this.#open(command)
      case 'restore':
        return this.#then('restore', () => {
          this.#makeDirs(command)
          this.#unfollow()
          restoreTranscript(command, command, this.#launch.sameUid)
        })
      case 'input': {
        const remotes = this.#remotes.turn()
        return this.#then('input', () => this.#input(command, remotes))
      }
      case 'run_calls':
        this.#calls = new AbortController()
        return this.#then('run_calls', () => this.#runCalls(command, this.#calls.signal))
      case 'interrupt':
        this.#stopWaiting()
        return this.#then('interrupt', () => this.#interrupt())
      case 'verdict':
        return this.#gate.verdicts.give(command.tool_use_id, command)
      case 'custom_result':
        return this.#results.give(command.tool_use_id, command)
      case 'close':
        this.#stopWaiting()
        return this.#then('close', () => this.#close())
    }
  }

  /** Ends everything of the session, without a report. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopWaiting()
    this.#then('close', () => this.#end())
    await this.#last
    this.#transcript?.[Symbol.dispose]()
    await this.#wayOut[Symbol.asyncDispose]()
    await this.#remotes[Symbol.asyncDispose]()
  }

  #stopWaiting(): void {
    this.#calls.abort()
    this.#remotes.hurry()
  }

  #open(command: Command & { type: 'open' }): void {
    const isOther = this.#config?.sdk_session_id !== command.config.sdk_session_id
    this.#outdated ||= !sameLife(this.#config, command.config)
    this.#config = command.config
    this.#remotes.recall(command.seen_tools)
    this.#then('open', () => {
      this.#makeDirs(command.config)
      if (isOther) this.#unfollow()
      this.#transcript ??= this.#follow(command)
      return this.#bringUp()
    })
  }

  #unfollow(): void {
    this.#transcript?.[Symbol.dispose]()
    this.#transcript = undefined
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

  async #input(command: Command & { type: 'input' }, remotes: () => Promise<void>): Promise<void> {
    const message = userMessage(command)
    await this.#bringUp()
    await remotes()
    if (this.#run === undefined) return
    this.#inTurn = true
    this.#transcript?.begin(command.uuid)
    this.#run.input(message)
  }

  /** Not awaited: a CLI that does not answer must not hold up its `close`. */
  #interrupt(): void {
    this.#isStopping = this.#inTurn
    void this.#run?.interrupt(this.#inTurn)
  }

  async #runCalls({ config, calls, seen_tools }: Command & { type: 'run_calls' }, stop: AbortSignal): Promise<void> {
    await this.#end()
    this.#makeDirs(config)
    this.#unfollow()
    this.#outdated = true
    this.#remotes.recall(seen_tools)
    const exit = await runHeldCalls(
      {
        config: await this.#wayOut.in(config),
        remotes: await this.#remotes.of(config),
        calls,
        launch: this.#launch,
        link: this.#link,
      },
      stop,
    )
    if (exit !== undefined) this.#link.report({ type: 'exited', ...exit })
  }

  #makeDirs({ own_dirs, uid }: Pick<SessionConfig, 'own_dirs' | 'uid'>): void {
    if (!this.#launch.sameUid) makeOwnDirs(own_dirs, uid)
  }

  #follow({ config, transcripts }: Command & { type: 'open' }): SessionTranscript {
    const { report } = this.#link
    return new SessionTranscript({ config, known: transcripts, sameUid: this.#launch.sameUid, report })
  }

  /** Makes sure that a CLI with the newest config runs, unless a turn is still going on with an older one. */
  async #bringUp(): Promise<void> {
    const config = this.#config
    if (config === undefined) throw new Error('the session has not been opened')
    if (this.#run !== undefined && !this.#inTurn && (this.#outdated || this.#run.isOutdated)) {
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
      config: await this.#wayOut.in(config),
      remotes: await this.#remotes.of(config),
      launch: this.#launch,
      gate: this.#gate,
      results: this.#results,
      onMessage: (message, gone) => this.#tell(message, gone),
      onStarted: (pid, cli_version) => void this.#link.report({ type: 'started', pid, cli_version }),
      room: this.#link.room,
      isFrozen: () => this.#isFrozen(config.uid),
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

  async #tell(message: SDKMessage, gone: AbortSignal): Promise<void> {
    if (message.type === 'stream_event') {
      if (message.parent_tool_use_id === null) this.#requests.see(message.event)
      return this.#link.delta({ ...message })
    }
    if (message.type === 'result') this.#requests.cut()
    if (message.type === 'user' && !(await this.#told.mayTell(message, this.#transcript, gone))) return
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
