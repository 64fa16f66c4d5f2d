/** What clients may ask about a session's files: its checkpoints, the files themselves, a session that begins with them. */
import { BerthError, isBerthError } from '@berth/protocol'
import type { ForkSessionBody } from '@berth/protocol/api/checkpoint'
import { waitsForClient } from '../domain/session.ts'
import type { CheckpointRow, CheckpointSummary } from '../store/checkpoints.ts'
import type { Fork } from '../store/fork-session.ts'
import type { Once } from '../store/run-once.ts'
import type { SessionRow } from '../store/session-log.ts'
import { isoNow } from './deps.ts'
import { FileAccess, type FileContent, type FileListing, type FilePlace } from './file-access.ts'
import type { SandboxHost } from './sandbox-host.ts'
import type { Sandboxes } from './sandboxes.ts'
import type { SessionActor, SessionDeps } from './session-actor.ts'

export interface FileKey {
  readonly workspaceId: string
  readonly sessionId: string
  /** Absolute in the sandbox, or relative to the session's working directory. */
  readonly path: string
}

export interface SessionStorageParts {
  readonly sandboxes: Sandboxes
  actorOf(sessionId: string): SessionActor
}

const DEFAULT_MODE = 0o644

export class SessionStorage {
  readonly #deps: SessionDeps
  readonly #parts: SessionStorageParts
  readonly #access: FileAccess

  constructor(deps: SessionDeps, parts: SessionStorageParts) {
    this.#deps = deps
    this.#parts = parts
    this.#access = new FileAccess(deps)
  }

  /**
   * The session's files as they are now. One that was taken before, and nothing has changed since, is answered again. `invalid_request` within
   * a turn, `not_found` when there are no files.
   */
  async checkpoint(key: { workspaceId: string; sessionId: string }): Promise<CheckpointRow | CheckpointSummary> {
    const { store, files } = this.#deps
    return this.#parts.actorOf(key.sessionId).exclusively(async (signal) => {
      const row = await store.getSession({ workspaceId: key.workspaceId, id: key.sessionId })
      refuseInTurn(row)
      const newest = await store.findNewestCheckpoint(key)
      if (newest !== undefined && row.is_changed === 0) return newest
      const host = this.#hostOf(row)
      if (host !== undefined) return files.save(row, host, { why: 'request', signal })
      if (newest === undefined) throw new BerthError('not_found', `session ${row.id} has no files`)
      return newest
    })
  }

  async fork(args: { workspaceId: string; sessionId: string; body: ForkSessionBody }, once?: Once): Promise<Fork> {
    const { store, ids, clock } = this.#deps
    const fresh = { id: ids.next('sesn'), threadId: ids.next('sthr'), checkpointId: ids.next('chkp') }
    return store.forkSession({ ...args, ...fresh, now: isoNow(clock) }, once)
  }

  async list(key: FileKey & { limit: number }, signal: AbortSignal): Promise<FileListing> {
    return this.#where(key, (place) => this.#access.list(place, key.limit, signal))
  }

  async read(key: FileKey, signal: AbortSignal): Promise<FileContent> {
    return this.#where(key, (place) => this.#access.read(place, signal))
  }

  /** A session whose sandbox was put away gets one for this. `conflict` when it is archived. */
  async write(key: FileKey, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const { store, files, leases, clock } = this.#deps
    const actor = this.#parts.actorOf(key.sessionId)
    await actor.exclusively(async (stopping) => {
      const row = await store.getSession({ workspaceId: key.workspaceId, id: key.sessionId })
      if (row.status === 'terminated') throw new BerthError('invalid_request', `session ${row.id} is archived`)
      const both = AbortSignal.any([signal, stopping])
      const host = await this.#parts.sandboxes.forSession(row.id)
      await files.bringBack(row.id, host, { signal: both, publish: (told) => actor.publish(told) })
      const epoch = await leases.epoch(row.id)
      await store.noteFilesChanged({ sessionId: row.id, epoch, sandboxId: host.id, now: isoNow(clock) })
      await this.#access.write({ row, host, path: key.path }, { mode: DEFAULT_MODE, body }, both)
    })
  }

  /** Files that are on their way out of a sandbox while they are asked for are asked for again where they are then. */
  async #where<Answer>(key: FileKey, ask: (place: FilePlace) => Promise<Answer>): Promise<Answer> {
    const place = await this.#place(key)
    try {
      return await ask(place)
    } catch (error) {
      if (!isBerthError(error, 'unavailable')) throw error
      if (place.host !== undefined) await this.#parts.sandboxes.dealtWith(place.host.id)
      const now = await this.#place(key)
      if (now.host === place.host) throw error
      return ask(now)
    }
  }

  async #place({ workspaceId, sessionId, path }: FileKey): Promise<FilePlace> {
    const row = await this.#deps.store.getSession({ workspaceId, id: sessionId })
    return { row, host: this.#hostOf(row), path }
  }

  /** The sandbox in which the session's files are; undefined: there is none, or it has yet to be given them. */
  #hostOf(row: SessionRow): SandboxHost | undefined {
    if (row.sandbox_id === null || row.files_in !== row.sandbox_id) return undefined
    return this.#parts.sandboxes.find(row.sandbox_id)
  }
}

function refuseInTurn(row: SessionRow): void {
  if (row.status === 'running' || row.status === 'rescheduling' || waitsForClient(row)) {
    throw new BerthError('invalid_request', 'the session is within a turn; a checkpoint is taken when it is over')
  }
}
