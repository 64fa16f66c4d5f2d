/** Makes a fork of a session, has it do one turn, and keeps what it showed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { forkedSession } from '@berth/protocol/api/checkpoint'
import { endSession } from '../harness/end-session.ts'
import { message } from '../harness/message.ts'
import { type ForkEvidence, type SeenEvent, toSeen } from './evidence.ts'
import { exchange } from './exchange.ts'
import { doneText } from './plan.ts'
import { post } from './poster.ts'
import type { Workload } from './workload.ts'

const AGAIN_MS = 150

/** At the event, which lies between two turns. */
export async function makeFork({ berth, record, signal }: Workload, at: SeenEvent): Promise<ForkEvidence> {
  const id = await untilForked({ berth, record, signal }, at)
  const list = async (): Promise<SeenEvent[] | undefined> => berth.list(id).then(toSeen, () => undefined)
  berth.adopt(id)
  const copied = await until(list, signal)
  const prompt = `Fork of ${at.id}`
  const script = [prompt, `::text ${doneText(prompt)} after {{turns}} prompts`]
  const what = { key: `fork-message-${at.id}`, kind: 'message' as const, about: prompt }
  const manner = { abandonAfterMs: null, isRepeated: true, isMarked: false }
  await post(berth, { id, posts: [] }, { post: what, event: message(script), manner, signal })
  const finalList = await until(async () => {
    const listed = await list()
    return listed !== undefined && isAnswered(listed.slice(copied.length)) ? listed : undefined
  }, signal)
  await until(
    () =>
      endSession(berth.client, id).then(
        () => true,
        () => undefined,
      ),
    signal,
  )
  return { id, at: at.id, about: prompt, copied, finalList }
}

/** The request is made again under its key until it is answered; every answer names the same session. */
async function untilForked(
  { berth, record, signal }: Pick<Workload, 'berth' | 'record' | 'signal'>,
  at: SeenEvent,
): Promise<string> {
  const path = `/berth/v1/sessions/${record.id}/fork`
  const headers = { 'idempotency-key': `fork-${at.id}` }
  const body = JSON.stringify({ event_id: at.id })
  const answer = await until(async () => {
    const once = await exchange(berth.server, { path, headers, body, signal }).catch(() => undefined)
    return once === undefined || once.status >= 500 ? undefined : once
  }, signal)
  if (answer.status !== 200) throw new Error(`fork at ${at.id}: ${answer.status} ${answer.body}`)
  return forkedSession.parse(JSON.parse(answer.body)).session.id
}

function isAnswered(listed: readonly SeenEvent[]): boolean {
  const last = listed.findLast(({ type }) => type.startsWith('session.status_'))
  return last?.type === 'session.status_idle'
}

async function until<Value>(probe: () => Promise<Value | undefined>, signal: AbortSignal): Promise<Value> {
  for (;;) {
    const value = await probe()
    if (value !== undefined) return value
    await sleep(AGAIN_MS, undefined, { signal })
  }
}
