/** A session on a real store, with everything that can happen to it as one step each: what clients send, what a runner reports, what is lost. */
import { idle, usageOf } from './reports.ts'
import { listPrices } from '@berth/protocol/prices'
import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { isBerthError, type Report } from '@berth/protocol'
import type { ClientEvent } from '@berth/protocol/api/client-event'
import { newId } from '../src/domain/ids.ts'
import { parseTurn, type TurnState } from '../src/domain/turn/turn-state.ts'
import { toSessionConfig } from '../src/engine/session-config.ts'
import type { Committed, SessionRow } from '../src/store/session-log.ts'
import type { Store } from '../src/store/store.ts'
import { ShippedLines } from './shipped-lines.ts'
import { type Places, type Policy, workspaceId } from './session-places.ts'

export interface Frame {
  readonly seq: number
  readonly report: Report
}

export interface Stored {
  readonly store: Store
  /** The same file, to look into. */
  readonly raw: DatabaseSync
}

export class SessionWorld {
  readonly id: string
  readonly #store: Store
  readonly #lines: ShippedLines
  #sandbox: string | undefined
  #nonce = ''
  /** Every frame of the present sandbox's runner. */
  #frames: Frame[] = []
  #holder = 0
  #epoch = 0
  /** The input that the CLI works on. */
  #inside: string | undefined
  #names = 0
  /** What was published, in order. */
  readonly published: Committed['events'][number][] = []
  /** Inputs handed to runners: uuid of each, in order. */
  readonly handed: string[] = []
  /** Inputs whose line was shipped. */
  readonly taken = new Set<string>()
  /** Calls that the runner was told to carry out and has not. */
  #toRun: string[] = []
  /** Calls that were begun in the place of a CLI that is gone. */
  readonly begun = new Set<string>()
  /** Calls that were to be carried out although they had begun. */
  readonly repeatedCalls: string[] = []

  private constructor({ store, raw }: Stored, id: string) {
    this.#store = store
    this.#lines = new ShippedLines(raw, id)
    this.id = id
  }

  static async create(stored: Stored, places: Places, policy: Policy): Promise<SessionWorld> {
    const { store } = stored
    const world = new SessionWorld(stored, newId('sesn'))
    const body = { agent: places.agent, environment_id: places.environments[policy] }
    world.#keep(
      await store.createSession({
        id: world.id,
        threadId: newId('sthr'),
        workspaceId,
        body,
        prices: listPrices,
        now: world.#now(),
      }),
    )
    await world.takeOver()
    return world
  }

  async row(): Promise<SessionRow> {
    const row = await this.#store.findSession({ sessionId: this.id })
    if (row === undefined) throw new Error('the session is gone')
    return row
  }

  async turn(): Promise<TurnState> {
    return parseTurn((await this.row()).turn)
  }

  /** Under which the server acts. */
  get epoch(): number {
    return this.#epoch
  }

  get frames(): readonly Frame[] {
    return this.#frames
  }

  /** Answers false when the session refused it. */
  async send(events: readonly ClientEvent[]): Promise<boolean> {
    try {
      this.#keep(
        await this.#store.acceptEvents({ workspaceId, sessionId: this.id, events: [...events], now: this.#now() }),
      )
      return true
    } catch (error) {
      if (isBerthError(error, 'invalid_request')) return false
      throw error
    }
  }

  /** Another server acts from now on. */
  async takeOver(): Promise<void> {
    await this.#store.releaseLeases({ holder: null })
    const until = new Date(Date.now() + 60_000).toISOString()
    const lease = { groupId: this.id, holder: `server-${++this.#holder}`, until, now: this.#now() }
    this.#epoch = (await this.#store.takeLease(lease)) ?? 0
  }

  async deliver(): Promise<void> {
    const row = await this.row()
    if (row.status === 'terminated' || !(await this.#store.findHasInput({ sessionId: this.id }))) return
    const sandboxId = row.sandbox_id ?? (await this.#assign())
    const config = toSessionConfig(row, this.#nonce)
    const handed = await this.#store.deliverInput({ ...this.#mine(), sandboxId, nonce: this.#nonce, config, lacks: [] })
    if (handed !== undefined) this.#keep(handed)
  }

  async lose(): Promise<void> {
    if (this.#sandbox === undefined) return
    const sandboxId = this.#sandbox
    const lost = { ...this.#mine(), sandboxId, why: 'lost', files: 'gone', isCounted: false } as const
    for (const told of await this.#store.loseSandbox(lost)) this.#keep(told)
    await this.#forget(sandboxId)
  }

  /** The sandbox is let go while the session waits; nothing where that may not be. */
  async park(): Promise<void> {
    if (this.#sandbox === undefined) return
    const sandboxId = this.#sandbox
    const parked = await this.#store.parkSession({ ...this.#mine(), sandboxId, nonce: this.#nonce })
    if (parked === undefined) return
    this.#keep(parked)
    await this.#forget(sandboxId)
  }

  async #forget(sandboxId: string): Promise<void> {
    await this.#store.removeSandbox({ sandboxId, epoch: this.#epoch })
    this.#sandbox = undefined
    this.#frames = []
    this.#inside = undefined
    this.#toRun = []
  }

  async limit(): Promise<void> {
    this.#keep(await this.#store.limitTurn({ ...this.#mine(), limit: 'turn_seconds' }))
  }

  /** The limit is reached no more. */
  async resume(): Promise<void> {
    this.#keep(await this.#store.resumeSession(this.#mine()))
  }

  async archive(): Promise<void> {
    try {
      this.#keep(await this.#store.archiveSession({ workspaceId, sessionId: this.id, now: this.#now() }))
    } catch (error) {
      if (!isBerthError(error, 'invalid_request')) throw error
    }
  }

  /** The runner reports; the last `again` of its frames come once more before it. */
  async report(reports: readonly Report[], again = 0): Promise<void> {
    if (this.#sandbox === undefined) return
    const old = again === 0 ? [] : this.#frames.slice(-again)
    const fresh = reports.map((report, index) => ({ seq: this.#frames.length + index + 1, report }))
    this.#frames.push(...fresh)
    if (reports.some(endsInput)) {
      this.#inside = undefined
      this.#toRun = []
    }
    await this.commit([...old, ...fresh])
  }

  async commit(frames: readonly Frame[], epoch: number = this.#epoch): Promise<Committed | undefined> {
    if (this.#sandbox === undefined) return undefined
    const rest = { sandboxId: this.#sandbox, nonce: this.#nonce, acked: 0, previews: {}, usage: usageOf(frames) }
    const committed = await this.#store.commitReports({ ...this.#mine(), ...rest, epoch, frames: [...frames] })
    this.#keep(committed)
    return committed
  }

  /** The line of the input that is inside is shipped; nothing when there is none. */
  async takeInput(): Promise<void> {
    const uuid = this.#inside
    if (uuid === undefined || this.#lines.hold(uuid)) return
    await this.#shipLines([{ type: 'user', uuid, promptId: 'p' }])
    this.taken.add(uuid)
  }

  /** The lines of the calls that are open are shipped. */
  async ship(): Promise<void> {
    const calls = Object.entries((await this.turn()).calls)
    const lines = calls.map(([id, { kind }]) => {
      const block = { type: 'tool_use', id, name: kind === 'mcp' ? 'mcp__docs__search' : 'Bash', input: {} }
      return { type: 'assistant', uuid: `u_${id}`, message: { content: [block] } }
    })
    await this.#shipLines(lines)
  }

  /** The runner begins the next of the calls that it was told to carry out. */
  async beginCall(): Promise<void> {
    const [id] = this.#toRun
    if (id === undefined || this.begun.has(id)) return
    this.begun.add(id)
    await this.report([{ type: 'call_begins', tool_use_id: id }])
  }

  /** It carries out all of them. Answers false when there is none. */
  async runCalls(): Promise<boolean> {
    const ids = this.#toRun
    for (const id of ids) {
      await this.beginCall()
      this.#toRun = this.#toRun.slice(1)
      const block = { type: 'tool_result', tool_use_id: id, content: 'done' }
      await this.report([{ type: 'message', message: { type: 'user', message: { content: [block] } } }])
    }
    return ids.length > 0
  }

  /** One more line of the transcript. */
  async shipLine(line: object): Promise<void> {
    await this.#shipLines([line])
  }

  async #shipLines(lines: readonly object[]): Promise<void> {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('')
    const start = this.#lines.bytes()
    const path = `projects/x/${(await this.row()).sdk_session_id}.jsonl`
    await this.report([{ type: 'transcript', path, start, length: text.length, text }])
  }

  name(prefix: string): string {
    return `${prefix}_${++this.#names}`
  }

  /** A runner and a client that behave: everything that was accepted comes to its end. */
  async settle(): Promise<void> {
    for (let round = 0; round < 100; round++) {
      const { status } = await this.row()
      if (status === 'terminated') return
      if (status === 'idle' && (await this.turn()).paused !== null) await this.resume()
      else if (status === 'idle' && !(await this.#answer())) return
      await this.deliver()
      await this.takeInput()
      if (!(await this.runCalls())) await this.report([idle])
    }
    throw new Error('the session does not come to rest')
  }

  /** Ends what waits for the client. Answers false when nothing does. */
  async #answer(): Promise<boolean> {
    if (!JSON.stringify((await this.row()).stop_reason).includes('requires_action')) return false
    return this.send([{ type: 'user.interrupt' }])
  }

  async #assign(): Promise<string> {
    const sandboxId = newId('sbx')
    const nonce = randomUUID()
    await this.#store.assignSandbox({ ...this.#mine(), sandboxId, driver: 'none', nonce })
    this.#sandbox = sandboxId
    this.#nonce = nonce
    this.#frames = []
    return sandboxId
  }

  #keep(committed: Committed): void {
    this.published.push(...committed.events)
    for (const { body } of committed.commands) {
      if (body.type === 'interrupt') this.#toRun = []
      if (body.type === 'run_calls') {
        this.#toRun = body.calls.map(({ tool_use_id }) => tool_use_id)
        this.repeatedCalls.push(...this.#toRun.filter((id) => this.begun.has(id)))
      }
      if (body.type !== 'input') continue
      this.handed.push(body.uuid)
      this.#inside = body.uuid
    }
  }

  #mine(): { sessionId: string; epoch: number; now: string } {
    return { sessionId: this.id, epoch: this.#epoch, now: this.#now() }
  }

  #now(): string {
    return new Date().toISOString()
  }
}

/** The CLI has done with its input, or is gone. */
function endsInput(report: Report): boolean {
  return report === idle || report.type === 'exited' || report.type === 'refused'
}
