/** The saved files of sessions: what the engine and the API call. */
import type { ArchiveLimits, ArchiveRoot } from '@berth/protocol/archive'
import { BerthError } from '@berth/protocol'
import { type ArchivedTree, type SavedTree, toTree } from '../domain/checkpoint.ts'
import type { Ids } from '../domain/ids.ts'
import type { Logger } from 'pino'
import type { ArchiveChannel } from './archive-channel.ts'
import { runRestore } from './archive-reader.ts'
import { ArchiveWriter } from './archive-writer.ts'
import { type ArchivedFile, type ArchivedListing, listTree, readTreeFile } from './archived-files.ts'
import type { BlobStore } from './blob-store.ts'
import type { ChunkIndex } from './chunk-index.ts'
import { ChunkPacker, type PackerParts } from './chunk-packer.ts'
import { ChunkReader } from './chunk-reader.ts'
import { Collector } from './collector.ts'
import { isDamaged } from './damaged.ts'
import { Exchange } from './exchange.ts'
import { FrameCache } from './frame-cache.ts'
import { type KnownChunks, nothingKnown, readKnown } from './known-chunks.ts'
import { Pins } from './pins.ts'

export interface ArchivesParts {
  readonly blobs: BlobStore
  /** The store. */
  readonly index: ChunkIndex
  readonly ids: Ids
  readonly logger: Logger
}

export interface SaveArgs {
  readonly workspaceId: string
  /** A checkpoint of the workspace: what it has need not be sent. One that is gone or damaged is passed over. */
  readonly base: string | null
  /**
   * Nothing that is stored is relied on: everything is sent and written again. That also mends other checkpoints with the same bytes. It is
   * so by itself when the base is found damaged.
   */
  readonly isRepair?: boolean
  readonly roots: readonly ArchiveRoot[]
  readonly limits: ArchiveLimits
  readonly signal: AbortSignal
}

/**
 * Files that are durable but belong to no checkpoint yet: `commitCheckpoint` takes `archive`. Dispose afterwards; where nothing was committed that
 * removes what was written.
 */
export interface SavedArchive extends AsyncDisposable {
  readonly archive: SavedTree
  /** Why the base was not used, when that is because it is damaged. */
  readonly baseFault: unknown
}

export interface RestoreArgs {
  readonly workspaceId: string
  readonly checkpoint: string
  /** Where each root is now, by the names that the checkpoint was saved under. */
  readonly roots: readonly ArchiveRoot[]
  readonly limits: ArchiveLimits
  readonly signal: AbortSignal
}

export class Archives {
  readonly #parts: ArchivesParts
  readonly #pins = new Pins()
  readonly #frames: FrameCache
  readonly #collector: Collector
  #collecting: Promise<unknown> = Promise.resolve()

  constructor(parts: ArchivesParts) {
    this.#parts = parts
    this.#frames = new FrameCache(parts.blobs)
    this.#collector = new Collector({ ...parts, frames: this.#frames, pins: this.#pins })
  }

  /**
   * The files of a session, as its helper on the channel sends them. When it rejects nothing is left: `too_large` beyond the limits, `timeout` after
   * `limits.seconds`, `unavailable` when the channel ends or the disk is full, `internal` when the helper lies. The channel is to be closed then.
   */
  async saveArchive(channel: ArchiveChannel, args: SaveArgs): Promise<SavedArchive> {
    await using cleanup = new AsyncDisposableStack()
    const pins = cleanup.use(this.#pins.startSave())
    const { workspaceId, limits } = args
    const reader = this.#reader(workspaceId)
    const { known, fault, hold } = await this.#base(args, reader)
    cleanup.use(hold)
    const saveId = this.#parts.ids.next('save')
    const isRepair = args.isRepair === true || fault !== undefined
    const packer = this.#packer({ workspaceId, saveId, pins, isRepair })
    cleanup.defer(() => this.#removeUncommitted(packer, { workspaceId, saveId }))
    using exchange = new Exchange(channel, withTimeout(args.signal, limits))
    const writer = new ArchiveWriter({ exchange, packer, reader, known, roots: args.roots, limits })
    const tree = await writer.run()
    const packed = await packer.finish()
    const kept = cleanup.move()
    return {
      archive: { saveId, ...tree, ...packed },
      baseFault: fault,
      [Symbol.asyncDispose]: () => kept.disposeAsync(),
    }
  }

  /**
   * The checkpoint's files take the place of what is below the roots. When it rejects, what is there is a part of them, to be restored anew:
   * `not_found` without such a checkpoint, `internal` when stored bytes are damaged, else as for `saveArchive`.
   */
  async restoreArchive(channel: ArchiveChannel, args: RestoreArgs): Promise<{ entries: number; bytes: number }> {
    const { workspaceId, roots, limits } = args
    using held = await this.#hold(workspaceId, args.checkpoint)
    using exchange = new Exchange(channel, withTimeout(args.signal, limits))
    const parts = { exchange, reader: this.#reader(workspaceId), segments: held.tree.segments, roots, limits }
    return await naming(args.checkpoint, () => runRestore(parts))
  }

  /** Of a checkpoint, by absolute paths as in the sandbox: what is in the directory there, or what else stands there; `not_found` when nothing does. */
  async listFiles(args: {
    workspaceId: string
    checkpoint: string
    path: string
    limit: number
  }): Promise<ArchivedListing> {
    using held = await this.#hold(args.workspaceId, args.checkpoint)
    return await naming(args.checkpoint, () => listTree(held.tree, this.#reader(args.workspaceId), args))
  }

  /** `not_found` when nothing stands there, `invalid_request` when it is no file. The body is read as it is taken. */
  async readFile(args: { workspaceId: string; checkpoint: string; path: string }): Promise<ArchivedFile> {
    using held = await this.#hold(args.workspaceId, args.checkpoint)
    const { tree } = held
    const file = await naming(args.checkpoint, () => readTreeFile(tree, this.#reader(args.workspaceId), args.path))
    return { ...file, body: this.#whileHeld(tree, file.body) }
  }

  /**
   * Removes what no checkpoint of the workspace needs; answers how many packs. One collection after another. It reads the segments of all of them: to
   * be called after removals, not after each one.
   */
  collect(args: { workspaceId: string; signal: AbortSignal }): Promise<number> {
    return this.#alone(() => this.#collector.collect(args.workspaceId, args.signal))
  }

  /** At start: removes what saves left that a crash has ended. Answers how many blobs. Saves may run. */
  removeLeftovers(signal: AbortSignal): Promise<number> {
    return this.#alone(() => this.#collector.removeLeftovers(signal))
  }

  async #alone(work: () => Promise<number>): Promise<number> {
    const turn = this.#collecting.then(work)
    this.#collecting = turn.catch(() => undefined)
    return turn
  }

  async #base({ workspaceId, base, isRepair }: SaveArgs, reader: ChunkReader): Promise<Base> {
    const none = { known: nothingKnown, hold: { [Symbol.dispose]: () => undefined } }
    if (base === null || isRepair === true) return { ...none, fault: undefined }
    try {
      const held = await this.#hold(workspaceId, base)
      try {
        return { known: await readKnown(held.tree, reader), hold: held, fault: undefined }
      } catch (fault) {
        held[Symbol.dispose]()
        if (isDamaged(fault)) return { ...none, fault }
        throw fault
      }
    } catch (error) {
      if (error instanceof BerthError && error.code === 'not_found') return { ...none, fault: undefined }
      throw error
    }
  }

  /** The tree stays as long as it is held, though the checkpoint may be removed. */
  async #hold(workspaceId: string, id: string): Promise<Disposable & { readonly tree: ArchivedTree }> {
    const find = () => this.#parts.index.findCheckpoint({ workspaceId, id })
    const row = await find()
    if (row === undefined) throw notThere(id)
    const tree = toTree(row)
    const hold = this.#pins.holdTree(tree.segments)
    // Removed before it was held, it may be no more.
    if ((await find()) !== undefined) return { tree, [Symbol.dispose]: () => hold[Symbol.dispose]() }
    hold[Symbol.dispose]()
    throw notThere(id)
  }

  async *#whileHeld(tree: ArchivedTree, body: ArchivedFile['body']): ArchivedFile['body'] {
    using _hold = this.#pins.holdTree(tree.segments)
    yield* body
  }

  async #removeUncommitted(packer: ChunkPacker, save: { workspaceId: string; saveId: string }): Promise<void> {
    await packer.stop()
    try {
      for (const id of packer.begun) await this.#collector.removeUncommitted({ id, workspaceId: save.workspaceId })
    } catch (err) {
      // The fault of the save itself is what its caller is to hear.
      this.#parts.logger.warn({ err, ...save }, 'what a save has written is left for the next collection')
    }
  }

  #packer(save: Pick<PackerParts, 'workspaceId' | 'saveId' | 'pins' | 'isRepair'>): ChunkPacker {
    const { ids } = this.#parts
    return new ChunkPacker({ ...this.#parts, ...save, newPackId: () => ids.next('pack') })
  }

  #reader(workspaceId: string): ChunkReader {
    return new ChunkReader({ index: this.#parts.index, frames: this.#frames, workspaceId })
  }
}

interface Base {
  readonly known: KnownChunks
  readonly hold: Disposable
  readonly fault: unknown
}

function withTimeout(signal: AbortSignal, limits: ArchiveLimits): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(limits.seconds * 1_000)])
}

function notThere(id: string): BerthError {
  return new BerthError('not_found', `checkpoint ${id} does not exist`)
}

/** Damage is told with the checkpoint's id. */
async function naming<Result>(checkpoint: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof BerthError) || !isDamaged(error)) throw error
    const details = { ...error.details, checkpoint }
    throw new BerthError(error.code, `checkpoint ${checkpoint} is damaged: ${error.message}`, { details, cause: error })
  }
}
