/**
 * One session's actor: everything that happens to a session while it works goes through here, one thing after another. Reports are
 * committed in batches, then published, then acknowledged; stream events keep their place between them. When nothing else waits, the next
 * input is handed over. An actor holds nothing that a crash would lose.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { BerthError, isBerthError, type Report, type SessionUsage } from '@berth/protocol'
import type { Limits } from '@berth/protocol/api/limits'
import { isPaused, parseSessionAgent } from '../domain/session.ts'
import type { Committed, SessionRow } from '../store/session-log.ts'
import { type ActorDeps, isoNow } from './deps.ts'
import type { FeedItem } from './feed.ts'
import { BudgetTeller } from './budgets.ts'
import { Previews } from './previews.ts'
import type { RunnerItem } from './runner-connection.ts'
import type { SandboxHost } from './sandbox-host.ts'
import type { Sandboxes } from './sandboxes.ts'
import { toSessionConfig } from './session-config.ts'
import type { Rests } from './rests.ts'
import { SessionRest } from './session-rest.ts'
import type { SessionFiles } from './session-files.ts'
import { variablesOf } from './session-variables.ts'
import { pauseAfter } from '../domain/turn/recovery.ts'
import { mayShowUsage } from '../domain/turn/may-show-usage.ts'
import { TurnClock } from './turn-clock.ts'

const MAX_QUEUED = 512
const MAX_BATCH = 64
const MAX_TASKS = 16
/** After a step that failed. */
const RETRY_MS = 1_000

interface Frame {
  readonly seq: number
  readonly report: Report
}

export interface SessionDeps extends ActorDeps {
  readonly files: SessionFiles
  readonly rests: Rests
}

export class SessionActor {
  readonly #sessionId: string
  readonly #deps: SessionDeps
  readonly #sandboxes: Sandboxes
  readonly #previews: Previews
  #items: { item: RunnerItem; host: SandboxHost }[] = []
  #isWoken = false
  readonly #clock = new TurnClock(() => this.#start())
  readonly #rest: SessionRest
  readonly #tasks: (() => Promise<void>)[] = []
  #running: Promise<void> | undefined
  readonly #stopping = new AbortController()
  readonly #budget: BudgetTeller
  #pausedHost: SandboxHost | undefined

  constructor(sessionId: string, deps: SessionDeps, sandboxes: Sandboxes) {
    this.#sessionId = sessionId
    this.#deps = deps
    this.#sandboxes = sandboxes
    this.#budget = new BudgetTeller(sessionId, deps, this.#stopping.signal)
    this.#previews = new Previews(() => deps.ids.next('sevt'))
    this.#rest = new SessionRest({
      sessionId,
      deps,
      findHost: (id) => sandboxes.find(id),
      publish: (committed) => this.publish(committed),
      onDue: () => this.#start(),
    })
  }

  /** Nothing is under way, and nothing can come by itself: one that is made when it is needed serves as well. */
  get isIdle(): boolean {
    return this.#running === undefined && !this.#hasWork() && !this.#rest.hasSandbox
  }

  /** There may be an input to hand over. */
  wake(): void {
    this.#isWoken = true
    this.#rest.interrupt()
    this.#start()
  }

  /** Answers false when no more should come until the host's connection is resumed. */
  receive(item: RunnerItem, host: SandboxHost): boolean {
    if (this.#stopping.signal.aborted) return true
    this.#items.push({ item, host })
    this.#start()
    if (this.#items.length < MAX_QUEUED) return true
    this.#pausedHost = host
    return false
  }

  /** Runs the task when no other step of the session is under way; none begins beside it. `unavailable` when the actor has stopped. */
  exclusively<Result>(task: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const { signal } = this.#stopping
    if (signal.aborted) reject(new BerthError('unavailable', 'the session is not served here any more'))
    if (this.#tasks.length >= MAX_TASKS)
      reject(new BerthError('rate_limited', 'too much is asked of the session at once'))
    else this.#tasks.push(() => task(signal).then(resolve, reject))
    this.#rest.interrupt()
    this.#start()
    return promise
  }

  /** Stream events were lost. */
  interruptPreviews(): void {
    this.#previews.interrupt()
  }

  /** Resolves when the present step is over; no further one begins. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#clock[Symbol.dispose]()
    this.#rest[Symbol.dispose]()
    this.#items = []
    await this.#running
    // Their signal is aborted: they end at once.
    await Promise.all(this.#tasks.splice(0).map((task) => task()))
  }

  #start(): void {
    if (this.#running !== undefined || this.#stopping.signal.aborted) return
    this.#running = this.#work().finally(() => {
      this.#running = undefined
      if (this.#hasWork()) this.#start()
    })
  }

  async #work(): Promise<void> {
    try {
      while (!this.#stopping.signal.aborted) {
        const first = this.#items[0]
        if (first?.item.type === 'frame') await this.#commit(first.host)
        else if (first !== undefined) this.#preview()
        else if (this.#clock.reached !== undefined) await this.#endTurn(this.#clock.reached)
        else if (this.#isWoken) await this.#deliver()
        else if (this.#tasks.length > 0) await this.#runTask()
        else if (this.#rest.isDue) await this.#rest.takeStep(this.#stopping.signal)
        else return
        this.#resumeHost()
      }
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#deps.logger.error({ err: error, session_id: this.#sessionId }, 'session step failed')
      if (isBerthError(error, 'conflict')) await this.#deps.leases.check(this.#sessionId)
      // What was not committed stays with the runner and comes again on a new connection.
      const hosts = new Set(this.#items.map(({ host }) => host))
      this.#items = []
      for (const host of hosts) host.disconnect()
      await sleep(RETRY_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
      this.#isWoken = true
    }
  }

  /** A session that rests rests anew from what the task has left: it may have changed files, and has interrupted the step that was under way. */
  async #runTask(): Promise<void> {
    await this.#tasks.shift()?.()
    const row = await this.#deps.store.findSession({ sessionId: this.#sessionId })
    if (row !== undefined && !this.#stopping.signal.aborted) this.watch(row)
  }

  #hasWork(): boolean {
    const isDue = this.#isWoken || this.#clock.reached !== undefined || this.#rest.isDue
    return isDue || this.#items.length > 0 || this.#tasks.length > 0
  }

  #resumeHost(): void {
    if (this.#pausedHost === undefined || this.#items.length > MAX_QUEUED / 2) return
    this.#pausedHost.resume()
    this.#pausedHost = undefined
  }

  async #commit(host: SandboxHost): Promise<void> {
    const frames: Frame[] = []
    for (const { item, host: from } of this.#items) {
      if (item.type !== 'frame' || from !== host || frames.length === MAX_BATCH) break
      frames.push({ seq: item.seq, report: item.body })
    }
    const committed = await this.#deps.store.commitReports({
      sessionId: this.#sessionId,
      epoch: await this.#deps.leases.epoch(this.#sessionId),
      sandboxId: host.id,
      nonce: host.nonce,
      frames,
      acked: host.acked(this.#sessionId),
      previews: { ...this.#previews.ids },
      usage: frames.some(({ report }) => mayShowUsage(report)) ? await this.#usage() : null,
      now: isoNow(this.#deps.clock),
    })
    this.#items.splice(0, frames.length)
    const raw = committed.sdkMessages.map(({ seq, message }) => ({ kind: 'sdk_message' as const, seq, message }))
    this.#deps.feed.publish(this.#sessionId, [...raw, ...committed.events.map(toItem)])
    const last = frames.at(-1)
    if (last !== undefined) host.acknowledge(this.#sessionId, last.seq)
    this.watch(committed.row)
    if (isAtWork(committed.row)) this.#isWoken = true
  }

  #preview(): void {
    const head = this.#items.shift()
    if (head?.item.type !== 'delta') return
    const { message } = head.item
    const frames = this.#previews.read(message)
    if (!this.#deps.feed.hasSubscribers(this.#sessionId)) return
    const items: FeedItem[] = [{ kind: 'sdk_partial', message }]
    for (const frame of frames) items.push({ kind: 'preview', frame })
    this.#deps.feed.publish(this.#sessionId, items)
  }

  async #usage(): Promise<SessionUsage | null> {
    try {
      return await this.#deps.gateway.usage(this.#sessionId)
    } catch (error) {
      this.#deps.logger.warn({ err: error, session_id: this.#sessionId }, 'usage unknown for now')
      return null
    }
  }

  async #endTurn(limit: keyof Limits): Promise<void> {
    const { store, leases, clock } = this.#deps
    const epoch = await leases.epoch(this.#sessionId)
    this.publish(await store.limitTurn({ sessionId: this.#sessionId, epoch, limit, now: isoNow(clock) }))
    this.#clock.settle()
  }

  /** Watches what only time brings about, from here on. */
  watch(row: SessionRow): void {
    const { limits } = parseSessionAgent(row.agent).berth
    const nowMs = this.#deps.clock.now().getTime()
    this.#clock.update({ activeSince: isAtWork(row) ? row.active_since : null, limits }, nowMs)
    this.#rest.watch(row)
    this.#budget.watch(row)
  }

  async #deliver(): Promise<void> {
    this.#isWoken = false
    const { store, clock } = this.#deps
    const row = await store.findSession({ sessionId: this.#sessionId })
    if (row === undefined || row.status === 'terminated') return
    if (isPaused(row) || !(await store.findHasInput({ sessionId: this.#sessionId }))) {
      return await this.#sandboxes.takeUp(row)
    }
    const pauseMs = pauseAfter(row.failures)
    if (pauseMs > 0) await sleep(pauseMs, undefined, { signal: this.#stopping.signal })
    const host = await this.#sandboxes.forSession(row.id)
    await this.#deps.files.bringBack(row.id, host, {
      signal: this.#stopping.signal,
      publish: (told) => this.publish(told),
    })
    // What it is called inside is known once it has a sandbox.
    const placed = row.sandbox_id === null ? await store.findSession({ sessionId: row.id }) : row
    if (placed === undefined) return
    await this.#budget.settled()
    const { env, lacks } = await variablesOf(this.#deps, placed)
    const config = toSessionConfig(placed, host.nonce, env)
    const epoch = await this.#deps.leases.epoch(row.id)
    const committed = await store.deliverInput({
      sessionId: row.id,
      epoch,
      sandboxId: host.id,
      nonce: host.nonce,
      config,
      lacks,
      now: isoNow(clock),
    })
    if (committed !== undefined) this.publish(committed)
  }

  /** Tells watchers and the runner what was committed. */
  publish(committed: Committed): void {
    this.#deps.feed.publish(this.#sessionId, committed.events.map(toItem))
    const { sandbox_id } = committed.row
    const host = sandbox_id === null ? undefined : this.#sandboxes.find(sandbox_id)
    for (const { seq, body } of committed.commands) host?.command(this.#sessionId, seq, body)
    this.watch(committed.row)
  }
}

/** Is there, or may there soon be, an input to hand over? */
export function isAtWork(row: { readonly status: string }): boolean {
  return row.status === 'running' || row.status === 'rescheduling'
}

function toItem(event: Committed['events'][number]): FeedItem {
  return { kind: 'event', event }
}
