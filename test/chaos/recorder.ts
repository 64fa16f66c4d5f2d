/** Gathers evidence while a run goes on: what each session showed, what the model was asked, what stood in the files. */
import { readFile } from 'node:fs/promises'
import type { RequestRecord } from '@berth/scripted-model'
import { z } from 'zod'
import { contentPath } from '../harness/berth-api.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import type { TestBerth } from '../harness/test-berth.ts'
import {
  type Evidence,
  type ForkEvidence,
  type ModelRequest,
  type Post,
  type Resumed,
  type SeenEvent,
  type SessionEvidence,
  toSeen,
} from './evidence.ts'
import type { SessionKind } from './plan.ts'

const page = z.object({ data: z.array(z.object({ seq: z.int() })), next_page: z.string().nullable() })

export class SessionRecord {
  readonly id: string
  readonly posts: Post[] = []
  readonly lists: SeenEvent[][] = []
  readonly streams: SeenEvent[][] = []
  readonly resumed: Resumed[] = []
  readonly forks: ForkEvidence[] = []
  readonly effects: Record<string, string[]> = {}
  readonly #kind: SessionKind

  constructor(id: string, kind: SessionKind) {
    this.id = id
    this.#kind = kind
  }

  /** Lists the log and keeps the listing if it shows something new. */
  async list(berth: TestBerth): Promise<SeenEvent[]> {
    const events = toSeen(await berth.list(this.id))
    if (JSON.stringify(events) !== JSON.stringify(this.lists.at(-1))) this.lists.push(events)
    return events
  }

  /** Whether each of its sandboxes goes on with the file of the one before: then what is there at last is all, and any sandbox may go at any time. */
  get rests(): boolean {
    return this.#kind.rests
  }

  /** Reads the effects of the session's present sandbox from outside. */
  async readEffects(sandbox: SessionSandbox): Promise<void> {
    if (this.rests) return
    for (const { pid } of await sandbox.processes()) {
      const text = await readFile(`/proc/${pid}/root/workspace/effects`, 'utf8').catch(() => undefined)
      if (text === undefined) continue
      this.effects[sandbox.ref.id] = linesOf(text)
      return
    }
  }

  /** Of a session that rests: from where its files are. */
  async #readLastEffects(berth: TestBerth): Promise<void> {
    if (!this.rests) return
    const answer = await berth.fetch(contentPath(this.id, '/workspace/effects'))
    const text = answer.status === 404 ? '' : await answer.text()
    if (answer.status !== 200 && answer.status !== 404) throw new Error(`the effects: ${answer.status} ${text}`)
    this.effects['last'] = linesOf(text)
  }

  async evidence(berth: TestBerth): Promise<SessionEvidence> {
    await this.#readLastEffects(berth)
    const finalList = await this.list(berth)
    const { status } = await berth.client.beta.sessions.retrieve(this.id)
    const { id, posts, lists, streams, resumed, forks, effects } = this
    const numbers = await sdkNumbers(berth, id)
    const seen = { posts, lists, streams, resumed, forks, finalList, effects, sdkNumbers: numbers }
    return { id, policy: this.#kind.policy, status, ...seen }
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

export class Recorder {
  readonly sessions: SessionRecord[] = []
  readonly #requests = new Map<number, ModelRequest>()

  /** The model's log is bounded: call it often enough. */
  noteRequests(records: readonly RequestRecord[]): void {
    for (const { n, prompt, step, last_user, results } of records) {
      if (this.#requests.has(n)) continue
      this.#requests.set(n, { n, prompt, step, lastUser: JSON.stringify(last_user), results: JSON.stringify(results) })
    }
  }

  /** Deletes all sessions at last. */
  async close(berth: TestBerth): Promise<Evidence> {
    const sessions = await Promise.all(
      this.sessions.map(async (record) => {
        if (!record.rests && (await hasSandbox(berth, record.id)))
          await record.readEffects(await SessionSandbox.of(berth.traces, record.id))
        return record.evidence(berth)
      }),
    )
    this.noteRequests(berth.model.requests())
    const left = await berth.assertClean().then(
      () => [],
      (error: unknown) => [String(error)],
    )
    return {
      sessions,
      modelRequests: [...this.#requests.values()],
      leftovers: [...left, ...(await berth.traces.ofSandboxes())],
    }
  }
}

export async function hasSandbox(berth: TestBerth, sessionId: string): Promise<boolean> {
  await using driver = await berth.traces.openDriver()
  return (await driver.list({ session: sessionId })).some(({ state }) => state === 'running')
}

async function sdkNumbers(berth: TestBerth, id: string): Promise<number[]> {
  const numbers: number[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const query = cursor === '' ? '' : `&page=${encodeURIComponent(cursor)}`
    const answer = await berth.fetch(`/berth/v1/sessions/${id}/sdk_messages?limit=1000${query}`)
    const { data, next_page } = page.parse(await answer.json())
    numbers.push(...data.map(({ seq }) => seq))
    cursor = next_page
  }
  return numbers
}
