/** The official client with its own retries, on a connection that breaks at the worst moments. */
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect } from 'vitest'
import { LosingProxy } from '../harness/losing-proxy.ts'
import { message } from '../harness/message.ts'
import { messagesOf, ofType } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

interface Broken extends AsyncDisposable {
  readonly proxy: LosingProxy
  /** Sends through the proxy; answers the ids of the events as the client was told. */
  send(sessionId: string, content: string[], headers?: Record<string, string>): Promise<(string | undefined)[]>
}

async function breakable(berth: TestBerth): Promise<Broken> {
  const proxy = await LosingProxy.start(berth.server.url)
  const client = new Anthropic({ baseURL: proxy.url, apiKey: berth.server.apiKey, maxRetries: 2 })
  return {
    proxy,
    send: async (sessionId, content, headers = {}) => {
      const { data } = await client.beta.sessions.events.send(sessionId, { events: [message(content)] }, { headers })
      return (data ?? []).map(({ id }) => id)
    },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
}

const inputs = async (berth: TestBerth, id: string) =>
  ofType(await berth.list(id), 'user.message').map((event) => event.id)

describe('a client that retries', () => {
  story('runs one turn under one key, however often the answer is lost', async ({ berth }) => {
    await using broken = await breakable(berth)
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    broken.proxy.lose('answer', 'answer')
    const sent = await broken.send(id, ['Keyed', '::text Done.'], { 'Idempotency-Key': 'keyed-1' })
    expect(broken.proxy.left).toBe(0)
    expect(messagesOf(await events.turn())).toEqual(['Done.'])
    // Long after the turn the key still means the same input.
    expect(await broken.send(id, ['Keyed', '::text Done.'], { 'Idempotency-Key': 'keyed-1' })).toEqual(sent)
    expect(await inputs(berth, id)).toEqual(sent)
    expect(berth.modelCalls('Keyed')).toHaveLength(1)
  })

  story('runs one turn without a key as well', async ({ berth }) => {
    await using broken = await breakable(berth)
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    broken.proxy.lose('answer', 'answer')
    const sent = await broken.send(id, ['Unkeyed', '::text Done.'])
    expect(broken.proxy.left).toBe(0)
    expect(messagesOf(await events.turn())).toEqual(['Done.'])
    expect(await inputs(berth, id)).toEqual(sent)
    expect(berth.modelCalls('Unkeyed')).toHaveLength(1)
  })

  story('loses nothing that did not arrive', async ({ berth }) => {
    await using broken = await breakable(berth)
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    broken.proxy.lose('request', 'answer')
    const sent = await broken.send(id, ['Unarrived', '::text Done.'])
    await events.turn()
    expect(await inputs(berth, id)).toEqual(sent)
  })

  story('may say the same twice: two turns, on good connections and on bad ones', async ({ berth }) => {
    await using broken = await breakable(berth)
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    const script = ['Yes', '::text Yes.']
    const sent = await broken.send(id, script)
    sent.push(...(await broken.send(id, script)))
    broken.proxy.lose('answer')
    sent.push(...(await broken.send(id, script)))
    // This one comes as a retry, equal to an input whose answer was read.
    broken.proxy.lose('request')
    sent.push(...(await broken.send(id, script)))
    expect(new Set(sent).size).toBe(4)
    await events.until('all are said', () => (messagesOf(events.events).length === 4 ? true : undefined))
    expect(await inputs(berth, id)).toEqual(sent)
  })
})
