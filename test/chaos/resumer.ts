/** A follower that takes its stream up again where it stood, by `Last-Event-ID`, as often as it breaks. */
import { setTimeout as sleep } from 'node:timers/promises'
import { readFrames } from '../harness/raw-stream.ts'
import { type Resumed, seenEvent, type SeenEvent } from './evidence.ts'
import type { Workload } from './workload.ts'

const AGAIN_MS = 50
/** The last event is seen soon after all is quiet. */
const CATCH_UP_MS = 45_000

export class Resumer {
  readonly #workload: Workload
  readonly #stop = new AbortController()
  #last: string | null = null
  #running: Promise<void> = Promise.resolve()

  constructor(workload: Workload) {
    this.#workload = workload
  }

  start(): void {
    this.#running = this.#follow()
  }

  /** Leaves when the event has been seen, or late. */
  async stopBehind(lastEventId: string | undefined): Promise<void> {
    const late = AbortSignal.timeout(CATCH_UP_MS)
    while (this.#last !== (lastEventId ?? null) && !late.aborted) await sleep(AGAIN_MS)
    this.#stop.abort()
    await this.#running
  }

  async #follow(): Promise<void> {
    const { record } = this.#workload
    while (!this.#stop.signal.aborted) {
      const events: SeenEvent[] = []
      const connection: Resumed = { after: this.#last, events }
      record.resumed.push(connection)
      await this.#read(events).catch(() => undefined)
      if (events.length === 0) record.resumed.splice(record.resumed.indexOf(connection), 1)
      await sleep(AGAIN_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
  }

  async #read(events: SeenEvent[]): Promise<void> {
    const { berth, record } = this.#workload
    const headers: Record<string, string> = this.#last === null ? {} : { 'last-event-id': this.#last }
    const { signal } = this.#stop
    const response = await berth.fetch(`/v1/sessions/${record.id}/events/stream`, { headers, signal })
    if (!response.ok) throw new Error(await response.text())
    for await (const { id, data } of readFrames(response)) {
      if (id === undefined || data === undefined) continue
      events.push(seenEvent.parse(JSON.parse(data)))
      this.#last = id
    }
  }
}
