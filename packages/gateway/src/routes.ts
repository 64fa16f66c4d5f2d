import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol/error'
import { type SessionBudget, type SessionRoute, sessionRoute } from '@berth/protocol/gateway'
import type { Payer } from './accounts.ts'
import type { Logger } from './logger.ts'
import { type ListenerParts, SessionListener } from './session-listener.ts'
import { writeStateFile } from './state-file.ts'

/** Session ids name files. */
const sessionId = /^[A-Za-z0-9_-]{1,64}$/

export interface RoutesParts {
  /** Directory of the routes' files. */
  readonly directory: string
  readonly session: ListenerParts
  readonly logger: Logger
  /** Called with the number of sessions after every change. */
  readonly changed: (sessions: number) => void
}

/** The sessions that have a way to the model: what is listening, and the same on disk for the next start. */
export class Routes {
  readonly #parts: RoutesParts
  readonly #listeners = new Map<string, SessionListener>()
  /** Changes of one session happen one after another. */
  readonly #turns = new Map<string, Promise<unknown>>()

  private constructor(parts: RoutesParts) {
    this.#parts = parts
  }

  /** Opens what an earlier process served. A route whose directory is gone is dropped: so is its sandbox. */
  static async open(parts: RoutesParts): Promise<Routes> {
    const routes = new Routes(parts)
    await mkdir(parts.directory, { recursive: true, mode: 0o700 })
    for (const name of await readdir(parts.directory)) {
      const id = name.replace(/\.json$/, '')
      if (id === name || !sessionId.test(id)) await rm(join(parts.directory, name), { force: true })
      else await routes.#reopen(id)
    }
    return routes
  }

  get size(): number {
    return this.#listeners.size
  }

  get ids(): string[] {
    return [...this.#listeners.keys()]
  }

  /** Resolves when the socket is there and the route on disk. Throws `invalid_request` or `unavailable`, with nothing changed. */
  put(id: string, route: SessionRoute): Promise<void> {
    checkId(id)
    return this.#inTurn(id, async () => {
      const before = this.#listeners.get(id)
      const listener = await this.#listenerFor(id, route)
      const previous = listener.requests.route
      listener.change(route)
      try {
        await writeStateFile(this.#file(id), JSON.stringify(route))
      } catch (error) {
        if (listener === before) listener.change(previous)
        else await listener[Symbol.asyncDispose]()
        throw error
      }
      this.#listeners.set(id, listener)
      if (before !== undefined && before !== listener) void this.#retire(before)
      this.#parts.changed(this.size)
    })
  }

  /** Holds for the next model request, and for those that wait. `not_found`: the session has no socket. */
  setBudget(id: string, budget: SessionBudget | null): Promise<void> {
    checkId(id)
    return this.#inTurn(id, async () => {
      const listener = this.#listeners.get(id)
      if (listener === undefined) throw new BerthError('not_found', `session ${id} has no way to the model`)
      const route = { ...listener.requests.route, budget }
      await writeStateFile(this.#file(id), JSON.stringify(route))
      listener.change(route)
      await this.#parts.session.accounts.wake(id)
    })
  }

  /** Undefined: it has no socket. */
  payer(id: string): Payer | undefined {
    return this.#listeners.get(id)?.requests.payer
  }

  /** Resolves when the socket and the route are gone; cuts requests under way. */
  remove(id: string): Promise<void> {
    checkId(id)
    return this.#inTurn(id, async () => {
      await rm(this.#file(id), { force: true })
      const listener = this.#listeners.get(id)
      this.#listeners.delete(id)
      await listener?.[Symbol.asyncDispose]()
      await this.#parts.session.accounts.forget(id)
      await this.#parts.session.egress.traffic.forget(id)
      this.#parts.changed(this.size)
    })
  }

  /** Stops listening; requests under way end by themselves until `signal` is aborted, which cuts them. Routes stay on disk. */
  async drain(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#listeners.values()].map((listener) => listener.drain(signal)))
  }

  async #listenerFor(id: string, route: SessionRoute): Promise<SessionListener> {
    const before = this.#listeners.get(id)
    if (before !== undefined && (await before.serves(route))) return before
    return await SessionListener.open(this.#parts.session, id, route)
  }

  /** Requests that came through the old socket may end; nobody new can reach it once its place is taken or removed. */
  async #retire(listener: SessionListener): Promise<void> {
    try {
      await listener.retire()
    } catch (error) {
      this.#parts.logger.error({ err: error }, 'an old socket could not be closed')
    }
  }

  async #reopen(id: string): Promise<void> {
    try {
      const route = sessionRoute.parse(JSON.parse(await readFile(this.#file(id), 'utf8')))
      this.#listeners.set(id, await SessionListener.open(this.#parts.session, id, route))
    } catch (error) {
      this.#parts.logger.warn({ err: error, session: id }, 'a session could not be reopened')
      const gone = error instanceof BerthError && error.code === 'invalid_request'
      if (gone) await rm(this.#file(id), { force: true })
    }
  }

  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id)
    const turn = (async () => {
      await before?.catch(() => undefined)
      return await work()
    })()
    this.#turns.set(id, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id)
    }
  }

  #file(id: string): string {
    return join(this.#parts.directory, `${id}.json`)
  }
}

export function checkId(id: string): void {
  if (!sessionId.test(id)) throw new BerthError('invalid_request', 'session id: letters, digits, _ and -, at most 64')
}
