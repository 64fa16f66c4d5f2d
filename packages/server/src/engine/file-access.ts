/** Single files of a session: in its sandbox, by the helper there, while it has one; else in its newest checkpoint. */
import { BerthError } from '@berth/protocol'
import type { ArchiveNode, ArchiveReply } from '@berth/protocol/archive'
import { posix } from 'node:path'
import type { ArchiveChannel } from '../blobs/archive-channel.ts'
import { inside } from '@berth/sandbox'
import type { SessionRow } from '../store/session-log.ts'
import { archiveLink } from './archive-link.ts'
import type { ActorDeps } from './deps.ts'
import type { SandboxHost } from './sandbox-host.ts'
import { archiveJob } from './session-files.ts'

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

type Reply = Exclude<ArchiveReply, { type: 'failed' }> | Uint8Array

export class FileAccess {
  readonly #deps: ActorDeps

  constructor(deps: ActorDeps) {
    this.#deps = deps
  }

  /** `host`: the sandbox that has the session's files now; undefined: there is none. `not_found` when nothing is at the path. */
  async list(
    at: { readonly row: SessionRow; readonly host: SandboxHost | undefined; readonly path: string },
    limit: number,
    signal: AbortSignal,
  ): Promise<FileListing> {
    const path = absolute(at.path)
    if (at.host === undefined) {
      const checkpoint = await this.#checkpoint(at.row, path)
      const args = { workspaceId: at.row.workspace_id, checkpoint, path, limit }
      const { nodes, is_truncated } = await this.#deps.archives.listFiles(args)
      return { nodes, isTruncated: is_truncated, checkpointId: checkpoint }
    }
    await using channel = await open(at.row, at.host, signal)
    await channel.send({ type: 'list', path, limit })
    const reply = await receive(channel, signal)
    if (reply instanceof Uint8Array || reply.type !== 'nodes') throw strange()
    return { nodes: reply.nodes, isTruncated: reply.is_truncated, checkpointId: null }
  }

  /** The body is read as it is taken, and has to be taken or returned. */
  async read(
    at: { readonly row: SessionRow; readonly host: SandboxHost | undefined; readonly path: string },
    signal: AbortSignal,
  ): Promise<FileContent> {
    const path = absolute(at.path)
    if (at.host === undefined) {
      const checkpoint = await this.#checkpoint(at.row, path)
      return this.#deps.archives.readFile({ workspaceId: at.row.workspace_id, checkpoint, path })
    }
    await using opened = new AsyncDisposableStack()
    const channel = opened.use(await open(at.row, at.host, signal))
    await channel.send({ type: 'read', path, start: 0, length: null })
    const head = await receive(channel, signal)
    if (head instanceof Uint8Array || head.type !== 'file') throw strange()
    const { size, modified } = head.node
    return { size, modified, body: bytesOf(channel, opened.move(), signal) }
  }

  async write(
    at: { readonly row: SessionRow; readonly host: SandboxHost; readonly path: string },
    content: { readonly mode: number; readonly body: AsyncIterable<Uint8Array> },
    signal: AbortSignal,
  ): Promise<void> {
    await using channel = await open(at.row, at.host, signal)
    await channel.send({ type: 'write', path: absolute(at.path), mode: content.mode })
    for await (const bytes of content.body) await channel.send(bytes)
    await channel.send({ type: 'end' })
    const reply = await receive(channel, signal)
    if (reply instanceof Uint8Array || reply.type !== 'done') throw strange()
  }

  async #checkpoint(row: SessionRow, path: string): Promise<string> {
    const checkpoint = await this.#deps.store.findNewestCheckpoint({ sessionId: row.id })
    if (checkpoint === undefined) throw new BerthError('not_found', `${path}: the session has no files`)
    return checkpoint.id
  }
}

async function open(row: SessionRow, host: SandboxHost, signal: AbortSignal): Promise<ArchiveChannel> {
  return archiveLink(await host.channel(archiveJob(row, false), signal))
}

async function receive(channel: ArchiveChannel, signal: AbortSignal): Promise<Reply> {
  const reply = await channel.read(signal)
  if (reply === undefined) throw new BerthError('unavailable', 'the sandbox ended before it answered')
  if (reply instanceof Uint8Array || reply.type !== 'failed') return reply
  throw explain(reply)
}

function explain({ code, message }: Extract<ArchiveReply, { type: 'failed' }>): BerthError {
  switch (code) {
    case 'not_found':
      return new BerthError('not_found', message)
    case 'not_file':
    case 'denied':
      return new BerthError('invalid_request', message)
    case 'limit':
      return new BerthError('too_large', message)
    case 'full':
    case 'io':
    case 'bad_archive':
      return new BerthError('unavailable', message)
    default:
      return code satisfies never
  }
}

async function* bytesOf(
  channel: ArchiveChannel,
  opened: AsyncDisposableStack,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  await using _ = opened
  for (;;) {
    const reply = await receive(channel, signal)
    if (reply instanceof Uint8Array) yield reply
    else if (reply.type === 'done') return
    else throw strange()
  }
}

function absolute(path: string): string {
  return posix.resolve(inside.workspace, path)
}

function strange(): BerthError {
  return new BerthError('unavailable', 'the sandbox does not speak as it should about its files')
}
