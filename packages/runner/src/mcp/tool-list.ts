import { MAX_TOOLS } from '@berth/protocol/seen-tools'
import type { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { z } from 'zod'
import { RemoteFailure } from './remote-failure.ts'

/** Largest list, as JSON, over all its pages. */
const MAX_LIST = 1024 * 1024
const MAX_PAGES = 64

const page = z.looseObject({ tools: z.array(z.unknown()), nextCursor: z.string().max(4_096).nullish() })

export interface ToolList {
  readonly tools: readonly unknown[]
  /** There are more. */
  readonly isCut: boolean
}

/** What a server says its tools are, unexamined but bounded. */
export async function readToolList(client: Client, signal: AbortSignal): Promise<ToolList> {
  const tools: unknown[] = []
  let size = 0
  let cursor: string | undefined
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const params = cursor === undefined ? {} : { cursor }
    const answer = await client.request({ method: 'tools/list', params }, page, { signal })
    size += sizeOf(answer)
    if (size > MAX_LIST) throw new RemoteFailure('connection', `its list of tools is larger than ${MAX_LIST} bytes`)
    tools.push(...answer.tools)
    cursor = answer.nextCursor ?? undefined
    if (tools.length > MAX_TOOLS) return { tools: tools.slice(0, MAX_TOOLS), isCut: true }
    if (cursor === undefined) return { tools, isCut: false }
  }
  return { tools, isCut: true }
}

/** As JSON. What is nested so deep that it cannot be written is larger than anything. */
function sizeOf(value: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(value))
  } catch {
    return Infinity
  }
}
