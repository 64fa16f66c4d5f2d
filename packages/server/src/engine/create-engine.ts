/** Puts the engine together: the feed, an actor per working session, the sandboxes, and the round that keeps them in order. */
import { CollectionRounds } from '../blobs/collection-rounds.ts'
import type { Committed } from '../store/session-log.ts'
import { type ActorDeps, type EngineDeps, isoNow } from './deps.ts'
import type { Engine, SessionRow } from './engine.ts'
import { Feed } from './feed.ts'
import { Leases } from './leases.ts'
import type { Loss } from './held-sandbox.ts'
import { Sandboxes } from './sandboxes.ts'
import { Pauses } from './pauses.ts'
import { Ports } from './ports.ts'
import { Rests } from './rests.ts'
import { isAtWork, SessionActor, type SessionDeps } from './session-actor.ts'
import { SessionStorage } from './session-storage.ts'
import { SessionFiles } from './session-files.ts'
import { WarmPool } from './warm-pool.ts'
import { UsageReport } from './usage-report.ts'
import { VaultPushes } from './vault-pushes.ts'
import { Vaults } from './vaults.ts'

const RECONCILE_EVERY_MS = 10_000
/** How often the time of living sandboxes is noted. */
const COUNT_EVERY_MS = 60_000

/** Takes up what the server before left: its sandboxes are adopted, its unfinished sessions go on. */
export async function createEngine(given: EngineDeps): Promise<Engine> {
  const feed = new Feed()
  const leases: Leases = new Leases(given, (groupId) => parts.sandboxes.abandon(groupId))
  const deps: ActorDeps = { ...given, feed, leases, pushes: new VaultPushes(given) }
  const collections = new CollectionRounds({ ...deps, index: deps.store })
  const warm = new WarmPool(deps, { limit: given.warmSandboxes })
  const parts: Actors = new Actors(deps, { files: new SessionFiles({ ...deps, collections }), warm })
  await parts.takeUp()
  await warm.start()
  const rounds = startRounds(() => parts.round(), deps)
  let isDraining = false
  const now = (): string => isoNow(deps.clock)
  const priced = () => ({ prices: deps.costs.prices, now: now() })
  const created = (committed: Committed): SessionRow => {
    parts.publish(committed)
    return committed.row
  }
  return {
    createSession: async (session, once) => {
      const ids = { id: deps.ids.next('sesn'), threadId: deps.ids.next('sthr') }
      return created(await deps.store.createSession({ ...session, ...ids, ...priced() }, once))
    },
    updateSession: async (args, once) => created(await deps.store.updateSession({ ...args, ...priced() }, once)),
    archiveSession: async (key, once) => {
      const row = created(await deps.store.archiveSession({ ...key, now: now() }, once))
      feed.finish(key.sessionId)
      parts.end(key.sessionId, row.sandbox_id)
      return row
    },
    deleteSession: async (key) => {
      const { event, sandboxId } = await deps.store.deleteSession({ ...key, now: now() })
      feed.publish(key.sessionId, [{ kind: 'event', event }])
      feed.finish(key.sessionId)
      parts.end(key.sessionId, sandboxId)
      collections.note(key.workspaceId)
    },
    sendEvents: async (args, once) => {
      const { stored, ...committed } = await deps.store.acceptEvents({ ...args, now: now() }, once)
      parts.publish(committed)
      return stored
    },
    storage: parts.storage,
    usage: new UsageReport(deps),
    vaults: new Vaults(deps),
    ports: new Ports(deps.store, parts.sandboxes),
    egress: (sessionId, page) => deps.gateway.egress(sessionId, page),
    subscribe: (sessionId, kinds) => feed.subscribe(sessionId, kinds),
    poolsChanged: () => warm.look(),
    notReady: () => (isDraining ? ['the server is shutting down'] : []),
    [Symbol.asyncDispose]: async () => {
      isDraining = true
      await rounds[Symbol.asyncDispose]()
      await collections[Symbol.asyncDispose]()
      feed[Symbol.dispose]()
      await parts[Symbol.asyncDispose]()
      await warm[Symbol.asyncDispose]()
      await leases[Symbol.asyncDispose]()
    },
  }
}

class Actors implements AsyncDisposable {
  readonly sandboxes: Sandboxes
  readonly storage: SessionStorage
  readonly #deps: SessionDeps
  readonly #pauses: Pauses
  readonly #actors = new Map<string, SessionActor>()

  constructor(deps: ActorDeps, { files, warm }: { files: SessionFiles; warm: WarmPool }) {
    this.sandboxes = new Sandboxes(deps, {
      claim: (row, epoch) => warm.claim(row, epoch),
      receive: (item, host) => this.#actor(item.session_id).receive(item, host),
      lost: (loss) => this.#lose(loss),
      interrupted: (sessionId) => this.#actors.get(sessionId)?.interruptPreviews(),
    })
    const { sandboxes } = this
    this.#deps = { ...deps, files, rests: new Rests({ ...deps, files, sandboxes }) }
    this.#pauses = new Pauses(deps, (committed) => this.publish(committed))
    this.storage = new SessionStorage(this.#deps, { sandboxes, actorOf: (id) => this.#actor(id) })
  }

  async takeUp(): Promise<void> {
    const { store, pushes } = this.#deps
    // Before anybody is served: what was withdrawn is withdrawn from here on.
    await pushes.reconcile()
    const rows = new Map((await store.listLiveSessions({})).map((row) => [row.id, row]))
    const sandboxes = await store.listSandboxes({})
    await Promise.all(
      sandboxes.map(async ({ groupId, ...sandbox }) => {
        if (groupId !== null) await this.sandboxes.adopt({ ...sandbox, groupId })
      }),
    )
    for (const row of rows.values()) {
      if (row.status !== 'idle') this.#actor(row.id).wake()
      else if (row.sandbox_id !== null) this.#actor(row.id).watch(row)
    }
  }

  async round(): Promise<void> {
    for (const [sessionId, actor] of this.#actors) if (actor.isIdle) this.#actors.delete(sessionId)
    await this.sandboxes.reconcile()
    const now = this.#deps.clock.now()
    const before = new Date(now.getTime() - COUNT_EVERY_MS).toISOString()
    await this.#deps.store.noteSandboxTime({ now: now.toISOString(), before })
    await this.#pauses.look()
    await this.#deps.pushes.reconcile()
  }

  /** Tells watchers and the runner; and where that gave the session something to do, its actor. */
  publish(committed: Committed): void {
    if (committed.isRepeat === true) return
    const actor = this.#actor(committed.row.id)
    actor.publish(committed)
    if (isAtWork(committed.row)) actor.wake()
    // Without work and without a sandbox nothing more can come for it.
    else if (committed.row.sandbox_id === null) this.#actors.delete(committed.row.id)
  }

  end(sessionId: string, sandboxId: string | null): void {
    const actor = this.#actors.get(sessionId)
    this.#actors.delete(sessionId)
    void actor?.stop()
    this.#deps.leases.forget(sessionId)
    this.#deps.rests.forget(sessionId)
    this.sandboxes.leaveSoon(sessionId, sandboxId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandboxes[Symbol.asyncDispose]()
    await Promise.all([...this.#actors.values()].map((actor) => actor.stop()))
  }

  #actor(sessionId: string): SessionActor {
    const known = this.#actors.get(sessionId)
    if (known !== undefined) return known
    const actor = new SessionActor(sessionId, this.#deps, this.sandboxes)
    this.#actors.set(sessionId, actor)
    return actor
  }

  async #lose({ groupId, ...loss }: Loss): Promise<void> {
    const { store, clock, leases } = this.#deps
    const epoch = await leases.epochUnlessDeleted(groupId)
    // Its sessions were deleted meanwhile: nobody is left to tell.
    if (epoch === undefined) return
    for (const told of await store.loseSandbox({ epoch, ...loss, now: isoNow(clock) })) this.publish(told)
  }
}

/** One round at a time, the next one a while after the last has ended. */
function startRounds(round: () => Promise<void>, deps: EngineDeps): AsyncDisposable {
  let running: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  let isStopped = false
  const go = (): void => {
    running = round()
      .catch((error: unknown) => deps.logger.error({ err: error }, 'reconciliation failed'))
      .finally(() => {
        if (!isStopped) timer = setTimeout(go, RECONCILE_EVERY_MS)
      })
  }
  go()
  return {
    [Symbol.asyncDispose]: async () => {
      isStopped = true
      clearTimeout(timer)
      await running
    },
  }
}
