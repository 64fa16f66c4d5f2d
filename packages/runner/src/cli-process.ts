import type { SpawnOptions, SpawnedProcess } from '@anthropic-ai/claude-agent-sdk'
import type { SessionConfig } from '@berth/protocol/link'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { LineLimit } from './line-limit.ts'
import { killAllOf } from './uid-sweep.ts'

const MAX_LINE_BYTES = 32 * 1024 * 1024
const STDERR_TAIL_BYTES = 4 * 1024
/** How long the CLI may take to end by itself; it saves its transcript meanwhile. */
const END_MS = 2_000

/**
 * Runs under the session's uid, because only that may write into the session's home, and becomes the CLI without another process or
 * step in between. A home that somebody else owns is refused: it may have been put there by another session. A conversation whose
 * transcript exists is continued even when this runner has never seen it; the CLI would refuse its id as already in use.
 * When memory runs out, the session's processes are to end before the runner, with which the whole sandbox would.
 */
const LAUNCH = `
echo 1000 >/proc/self/oom_score_adj 2>/dev/null
umask 077
mkdir -p "$HOME" "$CLAUDE_CONFIG_DIR" "$TMPDIR" || exit 78
[ -O "$HOME" ] || { echo "the home $HOME belongs to another user" >&2; exit 78; }
umask 022
cd -- "$1" || exit 78
id=$2
shift 2
if [ -f "$CLAUDE_CONFIG_DIR/projects/$CLAUDE_CODE_PROJECT_DIR_NAME/$id.jsonl" ]; then
  for argument do
    shift
    case $argument in --session-id=*) argument=--resume=$id ;; esac
    set -- "$@" "$argument"
  done
fi
exec "$@"
`

export interface CliExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** How CLIs are run on this machine. */
export interface CliLaunch {
  /** Path of the CLI's binary. */
  readonly claude: string
  /** True: under the runner's own uid, whatever the session's config says. For machines where the runner is not root. */
  readonly sameUid: boolean
}

interface CliEvents {
  exit: [code: number | null, signal: NodeJS.Signals | null]
  error: [error: Error]
}

/** One CLI process and everything it starts. Its events are for the SDK. */
export class CliProcess extends EventEmitter<CliEvents> implements SpawnedProcess {
  readonly stdin: Writable
  readonly stdout: Readable
  readonly exited: Promise<CliExit>
  readonly #child: ChildProcess
  readonly #uid: number | undefined
  #stderr = ''
  #failure: string | undefined

  private constructor(child: ChildProcess, uid: number | undefined, room: () => Promise<void>) {
    super()
    const { stdin, stdout, stderr } = child
    if (stdin === null || stdout === null || stderr === null) throw new Error('the CLI has no pipes')
    this.#child = child
    this.#uid = uid
    this.stdin = stdin
    this.stdout = this.#limited(stdout, room)
    // Writing to a CLI that has just ended is no error of ours: its exit is reported.
    stdin.on('error', () => undefined)
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL_BYTES)
    })
    this.exited = this.#exit()
  }

  /** Starts it. A binary that cannot be run shows as an exit. */
  static spawn(options: SpawnOptions, config: SessionConfig, launch: CliLaunch, room: () => Promise<void>): CliProcess {
    const uid = launch.sameUid ? undefined : config.uid
    const child = spawn(
      '/bin/sh',
      ['-c', LAUNCH, 'sh', config.cwd, config.sdk_session_id, launch.claude, ...options.args],
      { cwd: '/', env: options.env, stdio: 'pipe', detached: true, ...(uid === undefined ? {} : { uid, gid: uid }) },
    )
    return new CliProcess(child, uid, room)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get killed(): boolean {
    return this.#child.killed
  }

  get exitCode(): number | null {
    return this.#child.exitCode
  }

  get signalCode(): NodeJS.Signals | null {
    return this.#child.signalCode
  }

  kill(signal: NodeJS.Signals): boolean {
    return this.#child.kill(signal)
  }

  /** Why it ended: what went wrong with its output, else the last of its stderr. At most 4 KiB. */
  get detail(): string {
    return (this.#failure ?? this.#stderr.trim()).slice(-STDERR_TAIL_BYTES)
  }

  /** Ends the CLI: politely, then not. What it left running stays. Idempotent. */
  async end(): Promise<void> {
    this.kill('SIGINT')
    const polite = new AbortController()
    const late = sleep(END_MS, undefined, { signal: polite.signal }).then(
      () => this.#killGroup(),
      () => undefined,
    )
    await this.exited
    polite.abort()
    await late
  }

  /** Kills it, and says why. */
  abandon(why: string): void {
    this.#failure ??= why
    this.#killGroup()
  }

  /** Kills whatever is left of the process group and of the session's uid. */
  async sweep(): Promise<void> {
    this.#killGroup()
    if (this.#uid !== undefined) await killAllOf(this.#uid)
  }

  #killGroup(): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, 'SIGKILL')
    } catch {
      // The group is empty.
    }
  }

  #limited(stdout: Readable, room: () => Promise<void>): Readable {
    const limit = new LineLimit(MAX_LINE_BYTES, room)
    limit.on('error', (error) => this.abandon(error.message))
    return stdout.pipe(limit)
  }

  async #exit(): Promise<CliExit> {
    try {
      await once(this.#child, 'exit')
    } catch (error) {
      this.#failure = String(error)
    }
    const { exitCode: code, signalCode: signal } = this.#child
    this.emit('exit', code, signal)
    return { code, signal }
  }
}
