import { archiveReply } from '@berth/protocol/archive'
import type { ArchiveReply, ArchiveRequest } from '@berth/protocol/archive'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import type { Readable, Writable } from 'node:stream'
import { FrameSplitter, frameHead } from '../frame-splitter.ts'
import { FRAME_BINARY, FRAME_JSON } from '../archiver/frames.ts'

export interface Answer {
  readonly replies: ArchiveReply[]
  /** In the order of their coming. */
  readonly chunks: Buffer[]
  readonly cache: Buffer
  readonly exitCode: number | null
  readonly stderr: string
}

/** What a server keeps of a save. */
export interface Saved {
  readonly segments: string[]
  /** Everything known by its hash, segments included. */
  readonly store: Map<string, Buffer>
  readonly answer: Answer
}

export type Message = ArchiveRequest | Uint8Array

const bytesOf = (message: Message): Buffer => {
  const isBinary = message instanceof Uint8Array
  const body = isBinary ? Buffer.from(message) : Buffer.from(JSON.stringify(message))
  return Buffer.concat([frameHead(body.length, isBinary ? FRAME_BINARY : FRAME_JSON), body])
}

/** The archive helper as a real process, under a uid of its own where the tests may have that. */
export class TestArchiver {
  readonly #program: string
  readonly #uid: number | undefined
  cache = Buffer.alloc(0)

  constructor(program: string, uid: number | undefined) {
    this.#program = program
    this.#uid = uid
  }

  start(): ChildProcess {
    const user = this.#uid === undefined ? {} : { uid: this.#uid, gid: this.#uid }
    return spawn(process.execPath, [this.#program], {
      ...user,
      cwd: '/',
      env: {},
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    })
  }

  /** Says all messages, and waits for the end of the answer. */
  async ask(...messages: readonly Message[]): Promise<Answer> {
    const child = this.start()
    const [stdin, stdout, stderr, cacheIn, cacheOut] = streamsOf(child)
    for (const stream of [stdin, cacheIn]) stream.on('error', () => undefined)
    cacheIn.end(this.cache)
    const send = async (): Promise<void> => {
      for (const message of messages) {
        if (stdin.destroyed) return
        // A helper that has ended takes no more: its answer says why.
        if (!stdin.write(bytesOf(message))) await once(stdin, 'drain').catch(() => undefined)
      }
      stdin.end()
    }
    const exited = once(child, 'exit')
    const [, frames, cache, text] = await Promise.all([send(), framesOf(stdout), buffer(cacheOut), buffer(stderr)])
    await exited
    return { ...frames, cache, exitCode: child.exitCode, stderr: text.toString() }
  }

  /** A save beside what an earlier one has. Throws when it is not `saved`. */
  async save(request: ArchiveRequest & { type: 'save' }, earlier?: Saved): Promise<Saved> {
    const known = Buffer.concat([...(earlier?.store.keys() ?? [])].map((sha256) => Buffer.from(sha256, 'hex')))
    const answer = await this.ask(request, known, { type: 'known_end' })
    const store = new Map(earlier?.store)
    for (const chunk of answer.chunks) store.set(hash('sha256', chunk), chunk)
    const segments = answer.replies.flatMap((reply) => {
      if (reply.type === 'known_segment') return [(store.get(reply.hash) ?? Buffer.alloc(0)).toString()]
      if (reply.type !== 'segment') return []
      store.set(hash('sha256', reply.text), Buffer.from(reply.text))
      return [reply.text]
    })
    const last = answer.replies.at(-1)
    if (last?.type !== 'saved') throw new Error(`not saved: ${JSON.stringify(last)} ${answer.stderr}`)
    this.cache = Buffer.from(answer.cache)
    return { segments, store, answer }
  }

  /** Brings back what was saved. Answers the last reply. */
  async restore(
    request: ArchiveRequest & { type: 'restore' },
    { segments, store }: Saved,
  ): Promise<ArchiveReply | undefined> {
    const messages: Message[] = [request]
    for (const text of segments) messages.push({ type: 'segment', text }, ...chunksOf(text, store))
    const answer = await this.ask(...messages, { type: 'end' })
    this.cache = Buffer.from(answer.cache)
    return answer.replies.at(-1)
  }
}

function chunksOf(text: string, store: Map<string, Buffer>): Buffer[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => {
      const entry: unknown = JSON.parse(line)
      const pieces =
        typeof entry === 'object' && entry !== null && 'c' in entry && Array.isArray(entry.c) ? entry.c : []
      return pieces.filter((piece) => typeof piece === 'string').map((sha256) => store.get(sha256) ?? Buffer.alloc(0))
    })
}

async function framesOf(stdout: Readable): Promise<{ replies: ArchiveReply[]; chunks: Buffer[] }> {
  const replies: ArchiveReply[] = []
  const chunks: Buffer[] = []
  const splitter = new FrameSplitter((kind, body) => {
    if (kind === FRAME_BINARY) chunks.push(Buffer.from(body))
    else replies.push(archiveReply.parse(JSON.parse(body.toString())))
  })
  for await (const part of stdout) if (part instanceof Buffer) splitter.add(part)
  return { replies, chunks }
}

function streamsOf(child: ChildProcess): [Writable, Readable, Readable, Writable, Readable] {
  const [stdin, stdout, stderr, cacheIn, cacheOut] = child.stdio
  if (!stdin || !stdout || !stderr || !cacheIn || !cacheOut || !('write' in cacheIn) || !('read' in cacheOut))
    throw new Error('the helper has no pipes')
  return [stdin, stdout, stderr, cacheIn, cacheOut]
}
