import { describe, expect } from 'vitest'
import { z } from 'zod'
import { tool } from '../harness/message.ts'
import { framesUntil, readFrames } from '../harness/raw-stream.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

const page = z.object({
  data: z.array(z.object({ seq: z.int(), message: z.record(z.string(), z.unknown()) })),
  next_page: z.string().nullable(),
})
const assistant = z.object({
  type: z.literal('assistant'),
  message: z.object({ content: z.array(z.record(z.string(), z.unknown())) }),
})

async function list(berth: TestBerth, id: string, limit = 1000) {
  const messages: z.infer<typeof page>['data'] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const query = cursor === '' ? '' : `&page=${encodeURIComponent(cursor)}`
    const answer = await berth.fetch(`/berth/v1/sessions/${id}/sdk_messages?limit=${limit}${query}`)
    const { data, next_page } = page.parse(await answer.json())
    expect(data.length).toBeLessThanOrEqual(limit)
    messages.push(...data)
    cursor = next_page
  }
  return messages
}

function stream(berth: TestBerth, id: string, { last, partial = false }: { last?: string; partial?: boolean } = {}) {
  return berth.fetch(`/berth/v1/sessions/${id}/sdk_messages/stream${partial ? '?partial=true' : ''}`, {
    headers: last === undefined ? {} : { 'last-event-id': last },
    signal: AbortSignal.timeout(30_000),
  })
}

const isIdleState = (data: string | undefined): boolean => /"session_state_changed".*"idle"/.test(data ?? '')

describe('raw messages of the Agent SDK', () => {
  const script = [
    'Raw',
    '::thinking A thought of my own.',
    '::text Now the file.',
    tool('Read', { file_path: '/workspace/none', offset: 2, limit: 3 }),
    '::next',
    '::text Done.',
  ]

  story('are listed unabridged, as the CLI says them, with numbers without gaps', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, script)
    await berth.runTurn(id, ['Again', '::text Again.'])
    const messages = await list(berth, id)
    expect(messages.map(({ seq }) => seq)).toEqual(messages.map((_, index) => index + 1))
    const blocks = messages.flatMap(({ message }) => {
      const parsed = assistant.safeParse(message)
      return parsed.success ? parsed.data.message.content : []
    })
    expect(blocks).toEqual([
      { type: 'thinking', thinking: 'A thought of my own.', signature: expect.any(String) },
      { type: 'text', text: 'Now the file.' },
      expect.objectContaining({
        type: 'tool_use',
        id: expect.stringMatching(/^toolu_/),
        name: 'Read',
        input: { file_path: '/workspace/none', offset: 2, limit: 3 },
      }),
      { type: 'text', text: 'Done.' },
      { type: 'text', text: 'Again.' },
    ])
    const types = messages.map(({ message }) => message['type'])
    expect(types.filter((type) => type === 'result')).toHaveLength(2)
    expect(types).not.toContain('stream_event')
    expect(await list(berth, id, 3)).toEqual(messages)
  })

  story('are streamed as they are listed, from any number on', async ({ berth }) => {
    const { id } = await berth.createSession()
    const live = await stream(berth, id)
    await berth.send(id, script)
    const frames = await framesUntil(live, ({ data }) => isIdleState(data))
    const named = frames.filter(({ event }) => event !== undefined)
    expect(new Set(named.map(({ event }) => event))).toEqual(new Set(['sdk_message']))
    await berth.client.beta.sessions.archive(id)
    const messages = await list(berth, id)
    const seen = (shown: typeof frames) =>
      shown.flatMap((frame) =>
        frame.event === undefined ? [] : [{ seq: Number(frame.id), message: JSON.parse(frame.data ?? '') }],
      )
    expect(seen(frames)).toEqual(messages.slice(0, named.length))
    for (const last of [0, 1, messages.length - 1, messages.length]) {
      const replay: typeof frames = []
      for await (const frame of readFrames(await stream(berth, id, { last: String(last) }))) replay.push(frame)
      expect(seen(replay)).toEqual(messages.slice(last))
    }
    expect((await stream(berth, id, { last: 'x' })).status).toBe(400)
  })

  story('come with the partial ones to who asks, which are not kept', async ({ berth }) => {
    const { id } = await berth.createSession()
    const [partial, plain] = [await stream(berth, id, { partial: true }), await stream(berth, id)]
    await berth.send(id, script)
    const isEnd = ({ data }: { data?: string }): boolean => isIdleState(data)
    const frames = await framesUntil(partial, isEnd)
    const partials = frames.filter(({ event }) => event === 'sdk_partial')
    expect(partials.length).toBeGreaterThan(5)
    for (const { id: number, data } of partials) {
      expect(number).toBeUndefined()
      expect(JSON.parse(data ?? '')).toMatchObject({ type: 'stream_event' })
    }
    expect((await framesUntil(plain, isEnd)).filter(({ event }) => event === 'sdk_partial')).toEqual([])
  })
})
