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

  constructor(options: SessionTranscriptOptions) {
    const { config, known, sameUid } = options
    this.#options = options
    this.#files = new SessionFiles(configDir(config), sameUid ? undefined : config.uid)
    this.#path = join('projects', PROJECT_DIR_NAME, `${config.sdk_session_id}.jsonl`)
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

  /** Resolves when the present turn is in the file and reported, so far as it will be. */
  async settle(): Promise<void> {
    await this.#tail.readUntil(() => this.#awaited === undefined, AbortSignal.timeout(LATE_MS))
    this.#awaited = undefined
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
  const files = new SessionFiles(configDir(config), sameUid ? undefined : config.uid)
  if (part.unless_bytes !== undefined && files.size(part.path) >= part.unless_bytes) return
  files.append(part.path, part.start, Buffer.from(part.text))
}

function configDir(config: Pick<SessionConfig, 'home'>): string {
  return join(config.home, '.claude')
}
