/** Single files of a session: in its sandbox, by the helper there, while it has one; else in its newest checkpoint. */
import { BerthError } from '@berth/protocol'
import type { ArchiveNode, ArchiveRequest } from '@berth/protocol/archive'
import { posix } from 'node:path'
import { Exchange, outOfPlace } from '../blobs/exchange.ts'
import { dirsOf } from '../domain/session-dirs.ts'
import type { SessionRow } from '../store/session-log.ts'
import { archiveLink } from './archive-link.ts'
import type { ActorDeps } from './deps.ts'
import type { SandboxHost } from './sandbox-host.ts'
import { archiveJob } from './session-files.ts'

/** How long the helper may take to look into a directory, and to pass a file as large as a disk on. */
const LIST_MS = 60_000
const TRANSFER_MS = 60 * 60_000

export interface FileListing {
  readonly nodes: readonly ArchiveNode[]
  readonly isTruncated: boolean
  readonly checkpointId: string | null
}

export interface FileContent {
  readonly size: number
  /** Milliseconds since 1970. */
  readonly modified: number
  readonly body: AsyncGenerator<Uint8Array>
}

/** `host`: the sandbox that has the session's files now; undefined: there is none. */
export interface FilePlace {
  readonly row: SessionRow
  readonly host: SandboxHost | undefined
  readonly path: string
}

export class FileAccess {
  readonly #deps: ActorDeps

  constructor(deps: ActorDeps) {
    this.#deps = deps
  }

  /** `not_found` when nothing is at the path. */
  async list({ row, host, path }: FilePlace, limit: number, signal: AbortSignal): Promise<FileListing> {
    const at = absolute(row, path)
    if (host === undefined) {
      const checkpoint = await this.#checkpoint(row, at)
      const args = { workspaceId: row.workspace_id, checkpoint, path: at, limit }
      const { nodes, is_truncated } = await this.#deps.archives.listFiles(args)
      return { nodes, isTruncated: is_truncated, checkpointId: checkpoint }
    }
    await using asking = await ask(row, host, within(LIST_MS, signal))
    await asking.exchange.sendAll(one({ type: 'list', path: at, limit }))
    const reply = await asking.exchange.receive()
    if (reply instanceof Uint8Array || reply.type !== 'nodes') throw outOfPlace(reply)
    return { nodes: reply.nodes, isTruncated: reply.is_truncated, checkpointId: null }
  }

  /** The body is read as it is taken, and has to be taken or returned. */
  async read({ row, host, path }: FilePlace, signal: AbortSignal): Promise<FileContent> {
    const at = absolute(row, path)
    if (host === undefined) {
      const checkpoint = await this.#checkpoint(row, at)
      return this.#deps.archives.readFile({ workspaceId: row.workspace_id, checkpoint, path: at })
    }
    await using opened = new AsyncDisposableStack()
    const { exchange } = opened.use(await ask(row, host, within(TRANSFER_MS, signal)))
    await exchange.sendAll(one({ type: 'read', path: at, start: 0, length: null }))
    const head = await exchange.receive()
    if (head instanceof Uint8Array || head.type !== 'file') throw outOfPlace(head)
    const { size, modified } = head.node
    return { size, modified, body: bytesOf(exchange, opened.move()) }
  }

  async write(
    { row, host, path }: FilePlace & { readonly host: SandboxHost },
    content: { readonly mode: number; readonly body: AsyncIterable<Uint8Array> },
    signal: AbortSignal,
  ): Promise<void> {
    await using asking = await ask(row, host, within(TRANSFER_MS, signal))
    const head: ArchiveRequest = { type: 'write', path: absolute(row, path), mode: content.mode }
    await asking.exchange.sendAll(written(head, content.body))
    const reply = await asking.exchange.receive()
    if (reply instanceof Uint8Array || reply.type !== 'done') throw outOfPlace(reply)
  }

  async #checkpoint(row: SessionRow, path: string): Promise<string> {
    const checkpoint = await this.#deps.store.findNewestCheckpoint({ sessionId: row.id })
    if (checkpoint === undefined) throw new BerthError('not_found', `${path}: the session has no files`)
    return checkpoint.id
  }
}

async function ask(
  row: SessionRow,
  host: SandboxHost,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly exchange: Exchange }> {
  const channel = archiveLink(await host.channel(archiveJob(row, false), signal))
  const exchange = new Exchange(channel, signal)
  return {
    exchange,
    [Symbol.asyncDispose]: async () => {
      exchange[Symbol.dispose]()
      await channel[Symbol.asyncDispose]()
    },
  }
}

function within(ms: number, signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ms)])
}

async function* one(request: ArchiveRequest): AsyncGenerator<ArchiveRequest> {
  yield request
}

async function* written(
  head: ArchiveRequest,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<ArchiveRequest | Uint8Array> {
  yield head
  yield* body
  yield { type: 'end' }
}

async function* bytesOf(exchange: Exchange, opened: AsyncDisposableStack): AsyncGenerator<Uint8Array> {
  await using _ = opened
  for (;;) {
    const reply = await exchange.receive()
    if (reply instanceof Uint8Array) yield reply
    else if (reply.type === 'done') return
    else throw outOfPlace(reply)
  }
}

function absolute(row: SessionRow, path: string): string {
  return posix.resolve(dirsOf(row).cwd, path)
}
