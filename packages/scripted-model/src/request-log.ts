import type { ServerResponse } from 'node:http'
import type { ContentBlock } from './request.ts'

/** One model call, as tests want to see it. */
export interface RequestRecord {
  /** Counts from 1. */
  n: number
  session_id: string | null
  model: string
  /** Index of the script step that answers. */
  step: number
  /** First line of the prompt whose script counts. */
  prompt: string
  headers: Record<string, string>
  /** Names of the tools that were offered, in the order of the request. */
  tools: string[]
  /** Content of the last user message. */
  last_user: ContentBlock[]
  /** Tool results in the newest user messages, wherever they stand. */
  results: ContentBlock[]
  /** HTTP status; null until it is sent. */
  status: number | null
  /** `closed`: the connection ended before the answer did. */
  outcome: 'open' | 'complete' | 'closed'
  started_at: string
}

interface Entry {
  record: RequestRecord
  bytes: number
  /** The response, while it is being sent. */
  open: ServerResponse | undefined
}

const MAX_RECORDS = 1000
const MAX_BYTES = 64 * 1024 * 1024

/** The newest records, bounded in number and in bytes (of the requests they come from). */
export class RequestLog {
  #entries: Entry[] = []
  #bytes = 0
  #count = 0

  nextNumber(): number {
    return ++this.#count
  }

  /** Follows the response until it ends. */
  add(record: RequestRecord, bytes: number, response: ServerResponse): void {
    const entry: Entry = { record, bytes, open: response }
    this.#entries.push(entry)
    this.#bytes += bytes
    while (this.#entries.length > MAX_RECORDS || (this.#bytes > MAX_BYTES && this.#entries.length > 1)) {
      this.#bytes -= this.#entries.shift()?.bytes ?? 0
    }
    response.once('close', () => {
      record.status = statusOf(response)
      record.outcome = response.writableFinished ? 'complete' : 'closed'
      entry.open = undefined
    })
  }

  /** Copies, oldest first. */
  records(): RequestRecord[] {
    return this.#entries.map(({ record, open }) =>
      structuredClone(open === undefined ? record : { ...record, status: statusOf(open) }),
    )
  }
}

function statusOf(response: ServerResponse): number | null {
  return response.headersSent ? response.statusCode : null
}
