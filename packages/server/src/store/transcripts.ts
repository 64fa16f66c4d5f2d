/** The CLI's transcript files as far as they were shipped: what a session can be brought back from. */
import type { Command } from '@berth/protocol'
import { z } from 'zod'
import type { Db } from './store.ts'

type Restore = Extract<Command, { type: 'restore' }>

/** `sessions.needs_restore`: what the runner is given of the transcript before the next input. */
export const restore = {
  nothing: 0,
  /** All of it: the sandbox is a new one. */
  newSandbox: 1,
  /**
   * What the sandbox's own disk has less of than was shipped: it was started again on that disk. What the agent said
   * behind that and behind its last call is taken away: nobody was told of it, and the agent, who knows it, would not tell it again.
   */
  ifShorter: 2,
  /** All of it, in the place of what the sandbox has: that goes on where the conversation does not. */
  cutBack: 3,
} as const

const line = z.looseObject({ type: z.string(), uuid: z.string().optional() })

/** Adds a part. One that was added before, or that does not begin where the last one ended, is passed over: answers false. */
export async function appendTranscript(
  db: Db,
  args: { sessionId: string; path: string; start: number; length: number; text: string },
): Promise<boolean> {
  const { sessionId: session_id, path, start, length, text } = args
  const end = (await listTranscriptSizes(db, args))[path] ?? 0
  if (start !== end || length === 0) return false
  await db.insertInto('transcripts').values({ session_id, path, start, length, text }).execute()
  return true
}

/** Is the user line of this uuid among these lines? */
export function hasUserLine(text: string, uuid: string): boolean {
  return text.includes(uuid) && text.split('\n').some((row) => row.includes(uuid) && isUserLine(row, uuid))
}

function isUserLine(row: string, uuid: string): boolean {
  try {
    const parsed = line.parse(JSON.parse(row))
    return parsed.type === 'user' && parsed.uuid === uuid
  } catch {
    return false
  }
}

const answerLine = z.looseObject({
  type: z.literal('assistant'),
  message: z.looseObject({ content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })) }),
})

/** Does the agent answer with this text somewhere behind the user line of this uuid? */
export async function hasAnswer(db: Db, args: { sessionId: string; uuid: string; text: string }): Promise<boolean> {
  const rows = await db
    .selectFrom('transcripts')
    .select('text')
    .where('session_id', '=', args.sessionId)
    .orderBy('path')
    .orderBy('start')
    .execute()
  const lines = rows
    .map(({ text }) => text)
    .join('')
    .split('\n')
  const from = lines.findIndex((row) => row.includes(args.uuid) && isUserLine(row, args.uuid))
  return from >= 0 && lines.slice(from).some((row) => answersWith(row, args.text))
}

function answersWith(row: string, text: string): boolean {
  if (!row.includes('"assistant"')) return false
  try {
    return answerLine.parse(JSON.parse(row)).message.content.some((block) => block.text === text)
  } catch {
    return false
  }
}

/** Bytes per file. */
export async function listTranscriptSizes(db: Db, args: { sessionId: string }): Promise<Record<string, number>> {
  const rows = await db
    .selectFrom('transcripts')
    .select((select) => ['path', select.fn.sum<number>('length').as('size')])
    .where('session_id', '=', args.sessionId)
    .groupBy('path')
    .execute()
  return Object.fromEntries(rows.map((row) => [row.path, row.size]))
}

/** Everything as commands that put it back, in order. */
export async function restoreCommands(
  db: Db,
  sessionId: string,
  to: { readonly home: string; readonly uid: number; readonly isOnlyIfShorter: boolean },
): Promise<Restore[]> {
  const sizes = to.isOnlyIfShorter ? await listTranscriptSizes(db, { sessionId }) : {}
  const rows = await db
    .selectFrom('transcripts')
    .select(['path', 'text'])
    .where('session_id', '=', sessionId)
    .orderBy('path')
    .orderBy('start')
    .execute()
  const ends = new Map<string, number>()
  return rows.map(({ path, text }) => {
    const start = ends.get(path) ?? 0
    ends.set(path, start + Buffer.byteLength(text))
    const unless_bytes = sizes[path]
    return { type: 'restore', home: to.home, uid: to.uid, path, start, text, unless_bytes }
  })
}

/** Takes the user line of this uuid and everything after it out of the transcript. */
export async function cutTranscript(db: Db, args: { sessionId: string; uuid: string }): Promise<void> {
  const rows = await db
    .selectFrom('transcripts')
    .selectAll()
    .where('session_id', '=', args.sessionId)
    .where('text', 'like', `%${args.uuid}%`)
    .orderBy('start')
    .execute()
  const part = rows.find((row) => hasUserLine(row.text, args.uuid))
  if (part === undefined) return
  const lines = part.text.split('\n')
  const kept = lines.slice(
    0,
    lines.findIndex((row) => isUserLine(row, args.uuid)),
  )
  const text = kept.map((row) => `${row}\n`).join('')
  const from = db
    .deleteFrom('transcripts')
    .where('session_id', '=', args.sessionId)
    .where('path', '=', part.path)
    .where('start', '>=', part.start)
  await from.execute()
  if (text === '') return
  await db
    .insertInto('transcripts')
    .values({ ...part, text, length: Buffer.byteLength(text) })
    .execute()
}

/** Is there a line of user or agent in it? Without one a CLI has nothing to resume. */
export async function holdsConversation(db: Db, args: { sessionId: string }): Promise<boolean> {
  const rows = await db
    .selectFrom('transcripts')
    .select('text')
    .where('session_id', '=', args.sessionId)
    .where((where) => where.or(spoken.map((type) => where('text', 'like', `%"type":"${type}"%`))))
    .orderBy('path')
    .orderBy('start')
    .execute()
  return rows.some(({ text }) => text.split('\n').some(isSpoken))
}

const spoken = ['user', 'assistant']

function isSpoken(row: string): boolean {
  try {
    return spoken.includes(line.parse(JSON.parse(row)).type)
  } catch {
    return false
  }
}

export async function forgetTranscript(db: Db, args: { sessionId: string }): Promise<void> {
  await db.deleteFrom('transcripts').where('session_id', '=', args.sessionId).execute()
}

/** Another session begins with these files, up to these bytes of each. Of what was forgotten since there is nothing. */
export async function copyTranscripts(
  db: Db,
  args: { from: string; to: string; sizes: Readonly<Record<string, number>> },
): Promise<void> {
  for (const [path, size] of Object.entries(args.sizes)) {
    const rows = await db
      .selectFrom('transcripts')
      .selectAll()
      .where('session_id', '=', args.from)
      .where('path', '=', path)
      .where((where) => where(where('start', '+', where.ref('length')), '<=', size))
      .execute()
    if (rows.length === 0) continue
    const copies = rows.map((row) => ({ ...row, session_id: args.to }))
    const copied = copies.reduce((sum, { length }) => sum + length, 0)
    if (copied !== size) throw new Error(`of ${path} there are ${copied} bytes, not ${size}`)
    await db.insertInto('transcripts').values(copies).execute()
  }
}
