/** The files of sessions on their way out of sandboxes and back: who asks the sandbox, who keeps what it sends. */
import { type ChannelJob, processCount } from '@berth/protocol/channel'
import { availableParallelism } from 'node:os'
import type { CollectionRounds } from '../blobs/collection-rounds.ts'
import { isDamaged } from '../blobs/damaged.ts'
import { type CheckpointCause, toTranscriptSizes, toTree } from '../domain/checkpoint.ts'
import type { CheckpointRow } from '../store/checkpoints.ts'
import type { Committed, SessionRow } from '../store/session-log.ts'
import { archiveLink } from './archive-link.ts'
import { type EngineDeps, isoNow } from './deps.ts'
import type { Leases } from './leases.ts'
import type { SandboxHost } from './sandbox-host.ts'
import { placesOf } from './session-config.ts'
import { allRoots, archiveLimitsOf, rootsToSave } from './session-roots.ts'
import { Turnstile } from './turnstile.ts'

/** How long a runner may take to count processes. */
const COUNT_MS = 30_000

type SessionFilesDeps = EngineDeps & {
  readonly leases: Leases
  /** Told of workspaces in which checkpoints were removed. */
  readonly collections: Pick<CollectionRounds, 'note'>
}

export class SessionFiles {
  readonly #deps: SessionFilesDeps
  /** Each keeps a processor and the disk busy. */
  readonly #turns = new Turnstile(Math.max(2, availableParallelism()))

  constructor(deps: SessionFilesDeps) {
    this.#deps = deps
  }

  /**
   * Takes a checkpoint of a session that rests, with its processes standing still, and notes that nothing has changed since. When it rejects
   * there is none. Not for use beside another step of the session.
   */
  save(
    row: SessionRow,
    host: SandboxHost,
    how: { readonly why: CheckpointCause; readonly signal: AbortSignal },
  ): Promise<CheckpointRow> {
    return this.#turns.pass(() => this.#save(row, host, how))
  }

  /**
   * Gives the session's sandbox the files of the newest checkpoint, unless it has the session's files already. One that is damaged is passed
   * over, and `publish` tells that.
   */
  async bringBack(
    sessionId: string,
    host: SandboxHost,
    { signal, publish }: { readonly signal: AbortSignal; readonly publish: (committed: Committed) => void },
  ): Promise<void> {
    const { store, leases, clock } = this.#deps
    const row = await store.findSession({ sessionId })
    if (row === undefined || row.sandbox_id !== host.id || row.files_in === host.id) return
    for (;;) {
      const checkpoint = await store.findNewestCheckpoint({ sessionId })
      const key = { sessionId, epoch: await leases.epoch(sessionId), now: isoNow(clock) }
      try {
        if (checkpoint !== undefined) await this.#turns.pass(() => this.#restore(row, host, { checkpoint, signal }))
        return await store.noteFilesRestored({ ...key, sandboxId: host.id })
      } catch (error) {
        if (checkpoint === undefined || !isDamaged(error)) throw error
        this.#deps.logger.error({ err: error, checkpoint_id: checkpoint.id }, 'a checkpoint is damaged')
        publish(await store.markCheckpointDamaged({ ...key, checkpointId: checkpoint.id }))
      }
    }
  }

  /** Processes of the session that are neither its CLI nor a helper of ours. */
  async countProcesses(row: SessionRow, host: SandboxHost, signal: AbortSignal): Promise<number> {
    const { uid } = placesOf(row)
    await using channel = await host.channel({ type: 'count_processes', session_id: row.id, uid }, signal)
    const answer = await channel.read(AbortSignal.any([signal, AbortSignal.timeout(COUNT_MS)]))
    return processCount.parse(JSON.parse(typeof answer === 'string' ? answer : '')).count
  }

  async #restore(
    row: SessionRow,
    host: SandboxHost,
    { checkpoint, signal }: { readonly checkpoint: CheckpointRow; readonly signal: AbortSignal },
  ): Promise<void> {
    await using channel = archiveLink(await host.channel(archiveJob(row, false), signal))
    const args = { workspaceId: row.workspace_id, checkpoint: checkpoint.id, limits: archiveLimitsOf(row), signal }
    const saved = new Set(toTree(checkpoint).roots.map(({ name }) => name))
    const roots = allRoots(row, transcriptsOf(checkpoint)).filter(({ name }) => saved.has(name))
    await this.#deps.archives.restoreArchive(channel, { ...args, roots })
    this.#deps.logger.info({ session_id: row.id, checkpoint_id: checkpoint.id }, 'files brought back')
  }

  async #save(
    row: SessionRow,
    host: SandboxHost,
    { why, signal }: { readonly why: CheckpointCause; readonly signal: AbortSignal },
  ): Promise<CheckpointRow> {
    const { store, leases, archives, clock, ids } = this.#deps
    const place = await store.getCheckpointPlace({ sessionId: row.id })
    const base = await store.findNewestCheckpoint({ sessionId: row.id })
    const roots = rootsToSave(row, Object.keys(place.transcripts))
    const limits = archiveLimitsOf(row)
    await using channel = archiveLink(await host.channel(archiveJob(row, true), signal))
    // What was stored of it cannot be relied on: equal bytes are written again.
    const isRepair = await store.findIsNewestDamaged({ sessionId: row.id })
    const args = { workspaceId: row.workspace_id, base: base?.id ?? null, isRepair, roots, limits, signal }
    await using saved = await archives.saveArchive(channel, args)
    const key = { sessionId: row.id, epoch: await leases.epoch(row.id), now: isoNow(clock) }
    const { checkpoint, removed } = await store.commitCheckpoint({
      ...key,
      id: ids.next('chkp'),
      workspaceId: row.workspace_id,
      why,
      keep: this.#deps.checkpointsPerSession,
      place,
      roots,
      archive: saved.archive,
    })
    if (removed > 0) this.#deps.collections.note(row.workspace_id)
    await store.noteFilesSaved({ ...key, sandboxId: host.id })
    return checkpoint
  }
}

/** `freeze`: the session's processes stand still meanwhile. */
export function archiveJob(row: SessionRow, freeze: boolean): ChannelJob {
  return { type: 'archive', session_id: row.id, uid: placesOf(row).uid, freeze }
}

/** Files that are not in the checkpoint because they are shipped as they grow. */
function transcriptsOf(checkpoint: CheckpointRow): string[] {
  return Object.keys(toTranscriptSizes(checkpoint))
}
