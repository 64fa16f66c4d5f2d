/** Sessions that are over, in sandboxes in which others live: their processes end and their files go, whatever is killed meanwhile. */
import { isBerthError } from '@berth/protocol'
import { dirsOf } from '../domain/session-dirs.ts'
import type { Departure } from '../store/departures.ts'
import type { ActorDeps } from './deps.ts'
import type { SandboxHost } from './sandbox-host.ts'

/** How long one may take; it is begun again with the next round. */
const DEPART_MS = 150_000

export interface DeparturesOptions {
  readonly findHost: (sandboxId: string) => SandboxHost | undefined
  readonly stopping: AbortSignal
}

export class Departures {
  readonly #deps: ActorDeps
  readonly #options: DeparturesOptions
  #round: Promise<void> | undefined
  #isDue = false

  constructor(deps: ActorDeps, options: DeparturesOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** Resolves when everything that was noted before the call was tried once. */
  async run(): Promise<void> {
    this.#isDue = true
    while (this.#isDue || this.#round !== undefined) {
      this.#round ??= this.#once().finally(() => (this.#round = undefined))
      await this.#round
    }
  }

  async #once(): Promise<void> {
    this.#isDue = false
    const departures = await this.#deps.store.listDepartures({})
    await Promise.all(departures.map((departure) => this.#depart(departure)))
  }

  async #depart(departure: Departure): Promise<void> {
    const { sandbox_id: sandboxId, session_id: sessionId, uid, subdir } = departure
    const host = this.#options.findHost(sandboxId)
    // A sandbox that is lost holds no processes, and the files go when it is started again.
    if (host === undefined) return
    const signal = AbortSignal.any([this.#options.stopping, AbortSignal.timeout(DEPART_MS)])
    const { own } = dirsOf({ name_inside: sessionId, subdir })
    try {
      // A server that was killed may have left it open.
      await this.#deps.gateway.unroute(sessionId, signal)
      await using channel = await host.channel({ type: 'remove', session_id: sessionId, uid, own_dirs: own }, signal)
      // The runner says nothing; it closes the channel when it is done.
      await channel.read(signal)
      await this.#deps.store.endDeparture({ sandboxId, sessionId })
      this.#deps.logger.info({ session_id: sessionId, sandbox_id: sandboxId }, 'session removed from its sandbox')
    } catch (error) {
      if (isBerthError(error, 'unavailable') || signal.aborted) return
      this.#deps.logger.error({ err: error, session_id: sessionId }, 'session could not be removed from its sandbox')
    }
  }
}
