import type { Report, SessionConfig } from '@berth/protocol/link'
import { join } from 'node:path'
import { PROJECT_DIR_NAME } from './cli-environment.ts'
import { SessionFiles } from './session-files.ts'
import { TranscriptTail } from './transcript-tail.ts'

/** How long a turn's end, and a tool, wait for the line of the turn's input. */
const LATE_MS = 5_000

export interface SessionTranscriptOptions {
  readonly config: SessionConfig
  /** Bytes that the server has, by path. */
  readonly known: Readonly<Record<string, number>>
  readonly sameUid: boolean
  readonly report: (body: Report) => void
}

/** One session's transcript file: what the CLI appends is reported; what the server sends back is put in its place. */
export class SessionTranscript implements Disposable {
  readonly #options: SessionTranscriptOptions
  readonly #files: SessionFiles
  readonly #path: string
  #tail: TranscriptTail
  /** Input whose line has not been seen yet. */
  #awaited: string | undefined
  /** Calls of the present turn whose results have been reported. */
  readonly #results = new Set<string>()

  constructor(options: SessionTranscriptOptions) {
    const { config, known, sameUid } = options
    this.#options = options
    this.#files = sessionFiles(config, sameUid)
    this.#path = transcriptPath(config)
    this.#tail = this.#follow(known[this.#path] ?? 0)
  }

  /** A turn begins; of an input, or by itself. */
  begin(uuid?: string): void {
    this.#awaited = uuid ?? this.#awaited
    this.#tail.watch()
  }

  /** Resolves when the present input's line is reported, or is too late. */
  async taken(signal: AbortSignal): Promise<void> {
    const late = AbortSignal.timeout(LATE_MS)
    await this.#tail.readUntil(() => this.#awaited === undefined, AbortSignal.any([signal, late]))
  }

  /**
   * Resolves when the results of these calls are reported, or are too late. Answers false when the CLI is gone and has not written them: the
   * conversation that goes on will not know of them.
   */
  async holds(calls: readonly string[], gone: AbortSignal): Promise<boolean> {
    const isThere = (): boolean => calls.every((call) => this.#results.has(call))
    await this.#tail.readUntil(isThere, AbortSignal.any([gone, AbortSignal.timeout(LATE_MS)]))
    if (gone.aborted) this.read()
    return isThere() || !gone.aborted
  }

  /** Resolves when the present turn is in the file and reported, so far as it will be. */
  async settle(): Promise<void> {
    await this.#tail.readUntil(() => this.#awaited === undefined, AbortSignal.timeout(LATE_MS))
    this.#awaited = undefined
    this.#results.clear()
    this.#tail.rest()
  }

  /** Reports what there is by now. */
  read(): void {
    this.#tail.read()
  }

  /** Reports the last of a CLI that has ended. */
  close(): void {
    this.read()
    this.#tail.rest()
    this.#awaited = undefined
  }

  [Symbol.dispose](): void {
    this.#tail[Symbol.dispose]()
  }

  #follow(from: number): TranscriptTail {
    const { report } = this.#options
    const path = this.#path
    return new TranscriptTail({
      files: this.#files,
      path,
      from,
      onLines: (start, length, text) => {
        if (this.#awaited !== undefined && text.includes(this.#awaited)) this.#awaited = undefined
        for (const [, call = ''] of text.matchAll(/"tool_use_id":"([^"]+)"/g)) this.#results.add(call)
        report({ type: 'transcript', path, start, length, text })
      },
    })
  }
}

/** Puts a part of a transcript into its place. Throws when it does not fit what is there. */
export function restoreTranscript(
  config: Pick<SessionConfig, 'home' | 'uid'>,
  part: {
    readonly path: string
    readonly start: number
    readonly text: string
    readonly unless_bytes?: number | undefined
  },
  sameUid: boolean,
): void {
  const files = sessionFiles(config, sameUid)
  if (part.unless_bytes !== undefined && files.size(part.path) >= part.unless_bytes) {
    return files.cut(part.path, part.unless_bytes + lengthOfCalls(files.readFrom(part.path, part.unless_bytes)))
  }
  files.append(part.path, part.start, Buffer.from(part.text))
}

/**
 * Bytes up to the last line that has a call or a result: what the agent has done it must know. What it said behind them nobody has heard, and
 * it is to say it again.
 */
function lengthOfCalls(unreported: Buffer): number {
  const lines = unreported.subarray(0, unreported.lastIndexOf('\n') + 1)
  const last = Math.max(lines.lastIndexOf('"type":"tool_use"'), lines.lastIndexOf('"type":"tool_result"'))
  return last < 0 ? 0 : lines.indexOf('\n', last) + 1
}

/** Path of the conversation's transcript, as `SessionFiles` takes it. */
export function transcriptPath({ sdk_session_id }: Pick<SessionConfig, 'sdk_session_id'>): string {
  return join('projects', PROJECT_DIR_NAME, `${sdk_session_id}.jsonl`)
}

/** Files below the CLI's config directory. */
export function sessionFiles({ home, uid }: Pick<SessionConfig, 'home' | 'uid'>, sameUid: boolean): SessionFiles {
  return new SessionFiles(join(home, '.claude'), sameUid ? undefined : uid)
}
