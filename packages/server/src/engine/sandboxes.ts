/**
 * Every sandbox of this server: made when a session needs one, found again after a restart, renewed while it belongs to a session, ended
 * when it belongs to nobody. The store says who owns what; the driver says what is there; `reconcile` makes them agree.
 */
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { inside, type SandboxRef } from '@berth/sandbox'
import { LINK_PROTOCOL, runnerEnv } from '@berth/protocol'
import type { SessionRow } from '../store/session-log.ts'
import type { KnownSandbox } from '../store/sandboxes.ts'
import { type ActorDeps, isoNow } from './deps.ts'
import type { RunnerItem } from './runner-connection.ts'
import { SandboxHost } from './sandbox-host.ts'
import { environmentOf, modelSocket, toLimits } from './session-config.ts'
import { Turnstile } from './turnstile.ts'

/** How long a sandbox lives without a server. */
const LIFETIME_MS = 60 * 60 * 1_000
const RENEW_EVERY_MS = 5 * 60 * 1_000
/** A runner that has not been heard of for this long, in a sandbox that runs, hangs. */
const HUNG_MS = 60_000

export interface SandboxesOptions {
  receive(item: RunnerItem, host: SandboxHost): boolean
  /** The session's sandbox could not be made, or is gone with everything in it. */
  lost(sessionId: string, sandboxId: string, why: string): Promise<void>
  /** The runner's connection broke: stream events may have been lost. */
  interrupted(sessionId: string): void
}

interface Held {
  readonly host: SandboxHost
  readonly sessionId: string
  /** On the clock that never goes back, like the next. */
  renewedAt: number
  /** undefined: connected. */
  silentSince: number | undefined
  /** Its loss is being dealt with. */
  isEnding: boolean
  hasEnded: boolean
}

export class Sandboxes implements AsyncDisposable {
  readonly #deps: ActorDeps
  readonly #options: SandboxesOptions
  readonly #held = new Map<string, Held>()
  readonly #tasks = new Set<Promise<void>>()
  /** Making one keeps a processor busy: more at a time would only make each of them late. */
  readonly #launches = new Turnstile(Math.max(2, availableParallelism()))
  #isClosing = false

  constructor(deps: ActorDeps, options: SandboxesOptions) {
    this.#deps = deps
    this.#options = options
  }

  find(sandboxId: string): SandboxHost | undefined {
    return this.#held.get(sandboxId)?.host
  }

  /** The session's sandbox; a new one is being made when this resolves. That it fails is told through `lost`. */
  async forSession(row: SessionRow): Promise<SandboxHost> {
    const known = row.sandbox_id === null ? undefined : this.find(row.sandbox_id)
    if (known !== undefined) return known
    const { store, driver, clock, ids } = this.#deps
    const id = ids.next('sbx')
    const nonce = randomBytes(32).toString('base64url')
    await store.assignSandbox({ sessionId: row.id, sandboxId: id, driver: driver.name, nonce, now: isoNow(clock) })
    const host = this.#hold(id, nonce, row.id)
    this.#background(this.#launch(host, nonce, row))
    return host
  }

  /** Holds a sandbox that outlived the server before. */
  async adopt(sandbox: KnownSandbox & { sessionId: string }, row: SessionRow): Promise<void> {
    const ref = await this.#deps.driver.get(sandbox.id)
    if (sandbox.state === 'starting' && ref === undefined) return this.release(sandbox.id)
    if (ref === undefined || ref.state === 'gone') {
      await this.#options.lost(sandbox.sessionId, sandbox.id, 'the sandbox was gone when the server started')
      return this.release(sandbox.id)
    }
    const host = this.#hold(sandbox.id, sandbox.nonce, sandbox.sessionId)
    await this.#open(host, ref, row)
  }

  /** Ends the sandbox and forgets it. Safe to repeat; what fails is done again by `reconcile`. */
  async release(sandboxId: string): Promise<void> {
    await this.#end(sandboxId)
    this.#held.delete(sandboxId)
    await this.#deps.store.removeSandbox({ sandboxId })
  }

  releaseSoon(sandboxId: string): void {
    this.#background(this.release(sandboxId))
  }

  /** Looks at every sandbox once: the lost are reported, the unowned destroyed, the owned renewed. */
  async reconcile(): Promise<void> {
    const { store, driver, logger } = this.#deps
    const known = new Map((await store.listSandboxes({})).map((sandbox) => [sandbox.id, sandbox]))
    const present = new Map((await driver.list()).map((ref) => [ref.id, ref]))
    for (const ref of present.values()) {
      // A sandbox is in the store before it is made: what is not in the store by now is nobody's.
      if (known.has(ref.id) || (await store.findSandbox({ sandboxId: ref.id })) !== undefined) continue
      logger.warn({ sandbox_id: ref.id }, 'destroying an orphan sandbox')
      await driver.destroy(ref.id)
    }
    for (const sandbox of known.values()) {
      if (sandbox.sessionId === null) await this.release(sandbox.id)
      else if (sandbox.state === 'ready' && present.get(sandbox.id)?.state !== 'running') await this.#check(sandbox.id)
      else await this.#lookAfter(sandbox.id)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true
    await Promise.all(this.#tasks)
    await Promise.all([...this.#held.values()].map(({ host }) => host[Symbol.asyncDispose]()))
  }

  #hold(id: string, nonce: string, sessionId: string): SandboxHost {
    const { store, epoch, logger } = this.#deps
    const host = new SandboxHost({
      id,
      nonce,
      epoch,
      logger: logger.child({ sandbox_id: id }),
      progress: () => store.findLinkProgress({ sandboxId: id }),
      receive: (item, from) => this.#options.receive(item, from),
      connected: () => {
        held.silentSince = undefined
      },
      disconnected: () => {
        // One that comes again and again and is never welcomed hangs, too.
        held.silentSince ??= performance.now()
        this.#options.interrupted(sessionId)
        this.#background(this.#check(id))
      },
      mismatched: (protocol) => {
        const why = `was lost: its runner speaks version ${protocol} of the link, this server version ${LINK_PROTOCOL}`
        this.#background(this.#lose(id, why))
      },
    })
    const held: Held = {
      host,
      sessionId,
      renewedAt: performance.now(),
      silentSince: performance.now(),
      isEnding: false,
      hasEnded: false,
    }
    this.#held.set(id, held)
    return host
  }

  async #launch(host: SandboxHost, nonce: string, row: SessionRow): Promise<void> {
    try {
      const ref = await this.#launches.pass(() => this.#create(host, nonce, row))
      if (ref === undefined) return
      await this.#open(host, ref, row)
    } catch (error) {
      this.#deps.logger.error({ err: error, sandbox_id: host.id, session_id: row.id }, 'sandbox could not be made')
      await this.#lose(host.id, `could not be made: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /** undefined: nobody needs it by now, or the next server will make it. */
  async #create(host: SandboxHost, nonce: string, row: SessionRow): Promise<SandboxRef | undefined> {
    if (this.#isClosing || !this.#held.has(host.id)) return undefined
    const { driver, clock } = this.#deps
    return driver.create({
      id: host.id,
      labels: { session: row.id },
      limits: toLimits(row),
      until: new Date(clock.now().getTime() + LIFETIME_MS),
      env: {
        [runnerEnv.sandboxId]: host.id,
        [runnerEnv.link]: `unix:${inside.link}`,
        [runnerEnv.nonce]: nonce,
        [runnerEnv.claude]: inside.claude,
      },
      image: environmentOf(row).berth.image,
    })
  }

  async #open(host: SandboxHost, ref: SandboxRef, row: SessionRow): Promise<void> {
    if (ref.runDir === undefined || ref.uidBase === undefined) throw new Error('the sandbox is not on this machine')
    const socket = modelSocket(ref.runDir, inside.firstUid)
    const routed = mkdir(dirname(socket), { recursive: true, mode: 0o755 }).then(() =>
      this.#deps.gateway.route(row.id, {
        workspace_id: row.workspace_id,
        socket_path: socket,
        owner_uid: (ref.uidBase ?? 0) + inside.firstUid,
        models: null,
        server_tools: [],
      }),
    )
    await Promise.all([host.listen(ref), routed])
  }

  /** After a sign that something is wrong: is the sandbox still there? */
  async #check(sandboxId: string): Promise<void> {
    const held = this.#held.get(sandboxId)
    const ref = await this.#deps.driver.get(sandboxId)
    // Released meanwhile: then it ended because it was told to.
    if (held === undefined || !this.#held.has(sandboxId) || ref?.state === 'running') return
    await this.#lose(sandboxId, 'was lost: its processes have ended')
  }

  /**
   * The sandbox is gone, or as good as gone. What is left of it ends before the session hears of it: the next one takes over the session's
   * way to the model.
   */
  async #lose(sandboxId: string, why: string): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held === undefined || held.isEnding) return
    held.isEnding = true
    await this.#end(sandboxId)
    await this.#options.lost(held.sessionId, sandboxId, `the sandbox ${why}`)
    await this.release(sandboxId)
  }

  async #end(sandboxId: string): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held !== undefined && !held.hasEnded) {
      await held.host[Symbol.asyncDispose]()
      await this.#deps.gateway.unroute(held.sessionId).catch(() => undefined)
      held.hasEnded = true
    }
    await this.#deps.driver.destroy(sandboxId)
  }

  async #lookAfter(sandboxId: string): Promise<void> {
    const held = this.#held.get(sandboxId)
    if (held === undefined) return
    if (held.silentSince !== undefined && performance.now() - held.silentSince > HUNG_MS) {
      return this.#lose(sandboxId, 'was lost: its runner did not answer')
    }
    const now = performance.now()
    if (now - held.renewedAt < RENEW_EVERY_MS) return
    await this.#deps.driver.renew(sandboxId, new Date(this.#deps.clock.now().getTime() + LIFETIME_MS))
    held.renewedAt = now
  }

  #background(task: Promise<void>): void {
    const tracked = task
      .catch((error: unknown) => this.#deps.logger.error({ err: error }, 'sandbox task failed'))
      .finally(() => this.#tasks.delete(tracked))
    this.#tasks.add(tracked)
  }
}
