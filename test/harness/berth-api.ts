/** Berth's own routes about sessions, which the official client does not have. */
import { checkpoint, type Checkpoint, forkedSession, type ForkedSession } from '@berth/protocol/api/checkpoint'
import { sessionFileList, type SessionFileList } from '@berth/protocol/api/file'
import { pageOf } from '@berth/protocol/api/page'
import { usageEntry, type UsageEntry } from '@berth/protocol/api/usage'

/** A whole Berth, as its key's holder reaches it. */
interface Reachable {
  fetch(path: string, init?: JsonRequest): Promise<Response>
}

export interface JsonRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

async function json(berth: Reachable, path: string, init?: JsonRequest): Promise<unknown> {
  const answer = await berth.fetch(path, init)
  const body: unknown = await answer.json()
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(body)}`)
  return body
}

const post = (body: object): JsonRequest => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

/** Newest first. */
export async function checkpointsOf(berth: Reachable, id: string): Promise<Checkpoint[]> {
  return pageOf(checkpoint).parse(await json(berth, `/berth/v1/sessions/${id}/checkpoints`)).data
}

export async function takeCheckpoint(berth: Reachable, id: string): Promise<Checkpoint> {
  return checkpoint.parse(await json(berth, `/berth/v1/sessions/${id}/checkpoints`, { method: 'POST' }))
}

export async function fork(berth: Reachable, id: string, at: object): Promise<ForkedSession> {
  return forkedSession.parse(await json(berth, `/berth/v1/sessions/${id}/fork`, post(at)))
}

export async function filesOf(berth: Reachable, id: string, path: string): Promise<SessionFileList> {
  const query = new URLSearchParams({ path })
  return sessionFileList.parse(await json(berth, `/berth/v1/sessions/${id}/files?${query.toString()}`))
}

export function contentPath(id: string, path: string): string {
  return `/berth/v1/sessions/${id}/files/content?${new URLSearchParams({ path }).toString()}`
}

export async function usageOf(berth: Reachable, query: Readonly<Record<string, string>> = {}): Promise<UsageEntry[]> {
  return pageOf(usageEntry).parse(await json(berth, `/berth/v1/usage?${new URLSearchParams(query).toString()}`)).data
}
