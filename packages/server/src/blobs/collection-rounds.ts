/** When collections run: at start, and some time after checkpoints were removed, for all that went meanwhile. */
import type { Logger } from 'pino'
import type { Archives } from './archives.ts'
import type { ChunkIndex } from './chunk-index.ts'

/** A collection reads what every checkpoint of a workspace lists: not after each removal. */
const ROUND_MS = 10 * 60_000

interface CollectionRoundsDeps {
  readonly archives: Pick<Archives, 'collect' | 'removeLeftovers'>
  readonly index: Pick<ChunkIndex, 'listPackWorkspaces'>
  readonly logger: Logger
  /** Milliseconds between two rounds; default ten minutes. */
  readonly roundMs?: number
}

/** The first round begins at once, beside whatever else starts. */
export class CollectionRounds implements AsyncDisposable {
  readonly #deps: CollectionRoundsDeps
  readonly #stop = new AbortController()
  readonly #due = new Set<string>()
  #running: Promise<void>
  #timer: NodeJS.Timeout | undefined

  constructor(deps: CollectionRoundsDeps) {
    this.#deps = deps
    this.#running = this.#round(() => this.#start())
  }

  /** Checkpoints of the workspace were removed: its turn comes with the next round. */
  note(workspaceId: string): void {
    this.#due.add(workspaceId)
  }

  /** Ends what is under way between two packs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#timer)
    await this.#running
  }

  async #start(): Promise<void> {
    const { archives, index } = this.#deps
    await archives.removeLeftovers(this.#stop.signal)
    for (const workspaceId of await index.listPackWorkspaces({})) this.#due.add(workspaceId)
    await this.#collect()
  }

  async #collect(): Promise<void> {
    const { archives, logger } = this.#deps
    for (const workspaceId of this.#due) {
      this.#due.delete(workspaceId)
      try {
        await archives.collect({ workspaceId, signal: this.#stop.signal })
      } catch (err) {
        if (this.#stop.signal.aborted) return
        logger.warn({ err, workspaceId }, 'nothing of the workspace was collected')
      }
    }
  }

  async #round(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#deps.logger.warn({ err }, 'a collection failed')
    }
    if (this.#stop.signal.aborted) return
    this.#timer = setTimeout(() => {
      this.#running = this.#round(() => this.#collect())
    }, this.#deps.roundMs ?? ROUND_MS)
  }
}
