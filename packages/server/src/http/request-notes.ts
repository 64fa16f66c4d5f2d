/**
 * Lets the notes of requests go: of a request without a key when its client has its answer, for then an equal one is a new one; of all
 * others after a day.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Clock } from '../domain/clock.ts'
import type { Store } from '../store/store.ts'

const KEPT_MS = 24 * 60 * 60_000
const ROUND_MS = 1_000
/** So many rounds between two looks for what is over a day old. */
const ROUNDS_PER_LOOK = 60
const MAX_EXPIRED = 500
/** Beyond it a note stays for its day, which does no more than keep its place on the disk. */
const MAX_WATCHED = 10_000

interface Answered {
  readonly requestId: string
  readonly socket: Socket | null
}

interface RequestNotesDeps {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  /** Milliseconds between two rounds; default one second. */
  readonly roundMs?: number
}

/** As far as this end can tell: a client that goes before it has read everything breaks the connection. */
function hasArrived({ socket }: Answered): boolean {
  return socket?.errored == null
}

export class RequestNotes implements AsyncDisposable {
  readonly #deps: RequestNotesDeps
  #fresh: Answered[] = []
  #settling: Answered[] = []
  #roundsToLook = 0
  #running: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(deps: RequestNotesDeps) {
    this.#deps = deps
    this.#next()
  }

  /**
   * The note goes one to two rounds after the answer was written out in full, unless the connection breaks within them: then the client
   * surely has not read it. Without a connection nothing happens.
   */
  forgetOnceAnswered(outgoing: ServerResponse | undefined, requestId: string): void {
    if (outgoing === undefined) return
    const { socket } = outgoing
    outgoing.once('finish', () => {
      if (this.#fresh.length < MAX_WATCHED) this.#fresh.push({ requestId, socket })
    })
  }

  /**
   * Forgets at once what has been answered over connections that stand. To be called before a retry is looked at: by then the connection
   * that it comes from is known to be broken, and every other answer counts as read.
   */
  async settle(): Promise<void> {
    const answered = [...this.#settling, ...this.#fresh].filter(hasArrived)
    if (answered.length === 0) return
    this.#settling = this.#settling.filter((each) => !hasArrived(each))
    this.#fresh = this.#fresh.filter((each) => !hasArrived(each))
    await this.#forget(answered)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true
    clearTimeout(this.#timer)
    await this.#running
    await this.settle().catch((error: unknown) => this.#warn(error))
  }

  #next(): void {
    if (this.#isStopped) return
    this.#timer = setTimeout(() => {
      this.#running = this.#round()
        .catch((error: unknown) => this.#warn(error))
        .finally(() => this.#next())
    }, this.#deps.roundMs ?? ROUND_MS)
  }

  async #round(): Promise<void> {
    const settled = this.#settling
    this.#settling = this.#fresh
    this.#fresh = []
    await this.#forget(settled.filter(hasArrived))
    if (this.#roundsToLook-- > 0) return
    const expired = await this.#expire()
    // As long as there are more, each round takes its share, so that a backlog holds nobody up.
    this.#roundsToLook = expired === MAX_EXPIRED ? 0 : ROUNDS_PER_LOOK
  }

  async #forget(answered: readonly Answered[]): Promise<void> {
    const requestIds = answered.map(({ requestId }) => requestId)
    if (requestIds.length > 0) await this.#deps.store.forgetRequests({ requestIds })
  }

  #expire(): Promise<number> {
    const { store, clock } = this.#deps
    const before = new Date(clock.now().getTime() - KEPT_MS).toISOString()
    return store.expireRequests({ before, limit: MAX_EXPIRED })
  }

  #warn(error: unknown): void {
    this.#deps.logger.warn({ err: error }, 'notes of requests were not removed')
  }
}
