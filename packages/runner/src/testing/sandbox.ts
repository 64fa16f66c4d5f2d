import type { SeenTools } from '@berth/protocol/seen-tools'
import { startScriptedModel } from '@berth/scripted-model'
import type { ScriptedModel } from '@berth/scripted-model'
import type { Command, Report, SessionConfig } from '@berth/protocol/link'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { LinkPeer } from './link-peer.ts'

export const claude = join(
  dirname(createRequire(import.meta.url).resolve('@anthropic-ai/claude-agent-sdk-linux-x64/package.json')),
  'claude',
)

const isRoot = process.getuid?.() === 0
let uids = 100_000 + (process.pid % 40_000) * 20

/** A session in a sandbox: what one would do at the server's end. */
export class TestSession {
  readonly id: string
  readonly config: SessionConfig
  readonly #peer: LinkPeer

  constructor(id: string, config: SessionConfig, peer: LinkPeer) {
    this.id = id
    this.config = config
    this.#peer = peer
  }

  send(command: Command): void {
    this.#peer.send(this.id, command)
  }

  open(changes: Partial<SessionConfig> = {}, seen_tools: SeenTools[] = []): void {
    this.send({ type: 'open', transcripts: {}, seen_tools, config: { ...this.config, ...changes } })
  }

  /** Sends a script for the model as the user's message; answers its uuid. */
  say(...lines: string[]): string {
    const uuid = randomUUID()
    this.send({ type: 'input', uuid, content: [{ type: 'text', text: lines.join('\n') }] })
    return uuid
  }

  get reports(): readonly Report[] {
    return this.#peer.conversation(this.id).reports
  }

  /** Waits for the n-th report (from 1) of this type that also satisfies the condition. */
  report<T extends Report['type']>(
    type: T,
    n = 1,
    where: (report: Report & { type: T }) => boolean = () => true,
  ): Promise<Report & { type: T }> {
    return this.#peer.until(() => this.all(type).filter(where)[n - 1])
  }

  all<T extends Report['type']>(type: T): (Report & { type: T })[] {
    return this.reports.filter((report): report is Report & { type: T } => report.type === type)
  }

  /** SDK messages of a type, or of a subtype. */
  messages(kind: string): Record<string, unknown>[] {
    return this.all('message')
      .map(({ message }) => message)
      .filter(({ type, subtype }) => type === kind || subtype === kind)
  }

  /** Waits for the n-th message of the kind. */
  message(kind: string, n = 1): Promise<Record<string, unknown>> {
    return this.#peer.until(() => this.messages(kind)[n - 1])
  }

  /** Waits until the CLI was idle n times. */
  async idle(n = 1): Promise<void> {
    await this.#peer.until(
      () => this.messages('session_state_changed').filter(({ state }) => state === 'idle').length >= n,
    )
  }
}

/** A runner, the server's end of its link and a model, in a directory of their own. */
export class TestSandbox implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'br-'))
  readonly peer = new LinkPeer(join(this.dir, 'link.sock'))
  readonly sessions: TestSession[] = []
  readonly #bundle: string
  #model: ScriptedModel | undefined
  runner: ChildProcess | undefined
  stderr = ''

  constructor(bundle: string) {
    this.#bundle = bundle
    chmodSync(this.dir, 0o755)
  }

  static async start(bundle: string, env: Record<string, string> = {}): Promise<TestSandbox> {
    const sandbox = new TestSandbox(bundle)
    await sandbox.peer.listen()
    await sandbox.startModel()
    sandbox.startRunner(env)
    return sandbox
  }

  async startModel(): Promise<void> {
    const path = join(this.dir, 'model.sock')
    this.#model = await startScriptedModel({ listen: { path } })
    chmodSync(path, 0o777)
  }

  get model(): ScriptedModel {
    if (this.#model === undefined) throw new Error('the model has not been started')
    return this.#model
  }

  startRunner(env: Record<string, string> = {}): void {
    const runner = spawn(process.execPath, [this.#bundle], {
      env: {
        BERTH_SANDBOX_ID: 'sbx_test',
        BERTH_LINK: `unix:${join(this.dir, 'link.sock')}`,
        BERTH_NONCE: 'canary-nonce',
        BERTH_CLAUDE: claude,
        CANARY: 'canary-environment',
        ...(isRoot ? {} : { BERTH_RUNNER_SAME_UID: '1' }),
        ...env,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    runner.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.runner = runner
  }

  /** A session with a uid, a home and a working directory of its own. Not opened yet. */
  session(changes: Partial<SessionConfig> = {}): TestSession {
    const uid = uids++
    const home = join(this.dir, `home-${uid}`)
    const cwd = join(this.dir, `work-${uid}`)
    for (const path of [home, cwd]) {
      mkdirSync(path)
      if (isRoot) chownSync(path, uid, uid)
    }
    const config: SessionConfig = {
      sdk_session_id: randomUUID(),
      resume: false,
      uid,
      cwd,
      home,
      own_dirs: [],
      model: 'claude-opus-5-5',
      effort: null,
      system: 'You are a test.',
      tools: [{ name: 'Bash', policy: 'always_allow' }],
      custom_tools: [],
      mcp_servers: [],
      model_socket: join(this.dir, 'model.sock'),
      max_turns: null,
      max_retries: 1,
      env: {},
      ...changes,
    }
    const session = new TestSession(`sesn_${this.sessions.length}`, config, this.peer)
    this.sessions.push(session)
    return session
  }

  /** Lets another session do a whole turn with a tool: what this one could have done by itself, it has done by then. */
  async meanwhile(): Promise<void> {
    const other = this.session()
    other.open()
    other.say('::tool Bash {"command":"touch made"}', '::next', '::text ok')
    await other.idle()
  }

  /** Stops the runner as its sandbox would, and answers how it ended. */
  async stopRunner(): Promise<number | null> {
    const { runner } = this
    if (runner === undefined) return null
    if (runner.exitCode === null && runner.signalCode === null) {
      runner.kill('SIGTERM')
      await once(runner, 'exit')
    }
    return runner.exitCode
  }

  /** Pids of everything that runs under the session's uid; nothing where the tests are not root. */
  processesOf(session: TestSession): number[] {
    if (!isRoot) return []
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          const status = readFileSync(`/proc/${pid}/status`, 'utf8')
          return status.includes(`\nUid:\t${session.config.uid}\t`) && !/^State:\s+Z/m.test(status)
        } catch {
          return false
        }
      })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopRunner()
    await this.peer[Symbol.asyncDispose]()
    await this.#model?.[Symbol.asyncDispose]()
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }
}
