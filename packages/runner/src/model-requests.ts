import type { Report } from '@berth/protocol/link'
import { z } from 'zod'

type ModelRequest = Report & { type: 'model_request' }
type Usage = Record<string, unknown>

const usage = z.record(z.string(), z.unknown())
const event = z.discriminatedUnion('type', [
  z.object({ type: z.literal('message_start'), message: z.object({ id: z.string(), model: z.string(), usage }) }),
  z.object({
    type: z.literal('message_delta'),
    delta: z.object({ stop_reason: z.string().nullish() }),
    usage: usage.nullish(),
  }),
  z.object({ type: z.literal('message_stop') }),
])

interface Open {
  readonly message_id: string
  readonly model: string
  usage: Usage
  stop_reason: string | null
}

/** Finds the beginnings and ends of the main conversation's model requests in its stream events. */
export class ModelRequests {
  readonly #report: (request: ModelRequest) => void
  #open: Open | undefined

  constructor(report: (request: ModelRequest) => void) {
    this.#report = report
  }

  /** Takes one raw stream event of the main conversation. Those that say nothing of this are ignored. */
  see(raw: unknown): void {
    const parsed = event.safeParse(raw)
    if (!parsed.success) return
    const seen = parsed.data
    switch (seen.type) {
      case 'message_start': {
        this.cut()
        const { id: message_id, model, usage } = seen.message
        this.#open = { message_id, model, usage, stop_reason: null }
        this.#report({ type: 'model_request', phase: 'start', message_id, model, usage: null, stop_reason: null })
        return
      }
      case 'message_delta':
        if (this.#open === undefined) return
        this.#open.usage = { ...this.#open.usage, ...known(seen.usage ?? {}) }
        this.#open.stop_reason = seen.delta.stop_reason ?? this.#open.stop_reason
        return
      case 'message_stop':
        // An interrupted request is closed by a stop of the CLI's own, without the delta that says why.
        if (this.#open?.stop_reason === null) return this.cut()
        if (this.#open !== undefined) this.#report({ type: 'model_request', phase: 'end', ...this.#open })
        this.#open = undefined
    }
  }

  /** Nothing more comes of a request that is still open. Idempotent. */
  cut(): void {
    if (this.#open === undefined) return
    const { message_id, model } = this.#open
    this.#open = undefined
    this.#report({ type: 'model_request', phase: 'end', message_id, model, usage: null, stop_reason: null })
  }
}

/** A delta's usage repeats what it does not know as null. */
function known(usage: Usage): Usage {
  return Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null))
}
