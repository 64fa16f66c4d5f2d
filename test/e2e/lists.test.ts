import type { BetaManagedAgentsSessionEvent, EventListParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { describe, expect } from 'vitest'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

const bad = { status: 400, type: 'invalid_request_error' }

/** Reads the whole list page by page; `between` happens after each page. */
async function readAll(
  berth: TestBerth,
  id: string,
  params: EventListParams & { limit: number },
  between: (page: number) => Promise<void> = () => Promise.resolve(),
): Promise<BetaManagedAgentsSessionEvent[]> {
  const found: BetaManagedAgentsSessionEvent[] = []
  let page = await berth.client.beta.sessions.events.list(id, params)
  for (let number = 1; ; number++) {
    expect(page.data.length).toBeLessThanOrEqual(params.limit)
    found.push(...page.data)
    if (!page.hasNextPage()) return found
    await between(number)
    page = await page.getNextPage()
  }
}

const ids = (events: readonly { id: string }[]): string[] => events.map((event) => event.id)

describe('the list of events', () => {
  story('is the same in pages of any size, in both orders', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['One', '::text 1', '::tool Bash {"command":"true"}', '::next', '::text 2'])
    await berth.send(id, ['Hang', '::hang'])
    await expect.poll(() => berth.modelCalls('Hang').length).toBe(1)
    await berth.send(id, 'Waiting')
    const whole = await berth.list(id)
    expect(whole.at(-1)?.processed_at).toBeNull()
    for (let limit = 1; limit <= whole.length + 1; limit++) {
      expect(await readAll(berth, id, { limit })).toEqual(whole)
      expect(await readAll(berth, id, { limit, order: 'desc' })).toEqual(whole.toReversed())
    }
    expect((await berth.client.beta.sessions.events.list(id, { limit: whole.length })).next_page).toBeNull()
  })

  story('filters by type and by time', async ({ berth }) => {
    const { id } = await berth.createSession()
    await berth.runTurn(id, ['One', '::text 1'])
    await berth.runTurn(id, ['Two', '::text 2'])
    const whole = await berth.list(id)
    const types = ['agent.message', 'user.message'] as const
    const wanted = whole.filter(({ type }) => types.some((one) => one === type))
    expect(wanted).toHaveLength(4)
    for (const limit of [1, 2, 3, 100]) expect(await readAll(berth, id, { limit, types: [...types] })).toEqual(wanted)
    const plain = await berth.fetch(`/v1/sessions/${id}/events?types=agent.message&types=user.message`)
    expect(await plain.json()).toMatchObject({ data: wanted })

    const middle = whole[Math.floor(whole.length / 2)]?.processed_at ?? ''
    const times = (holds: (time: string) => boolean) => whole.filter((event) => holds(event.processed_at ?? ''))
    const bounds: [EventListParams, (time: string) => boolean][] = [
      [{ 'created_at[gt]': middle }, (time) => time > middle],
      [{ 'created_at[gte]': middle }, (time) => time >= middle],
      [{ 'created_at[lt]': middle }, (time) => time < middle],
      [{ 'created_at[lte]': middle }, (time) => time <= middle],
      [{ 'created_at[gte]': middle, 'created_at[lte]': middle }, (time) => time === middle],
    ]
    for (const [params, holds] of bounds) {
      expect(await readAll(berth, id, { ...params, limit: 2 })).toEqual(times(holds))
    }
  })

  story('shows every event once while others come and queued ones take their place', async ({ berth }) => {
    const { id } = await berth.createSession()
    await using events = await berth.watch(id)
    await berth.send(id, ['First', '::text 1', '::tool Bash {"command":"true"}', '::next', '::text 2'])
    await events.turn()
    for (const order of ['asc', 'desc'] as const) {
      for (const limit of [1, 3]) {
        const mark = `${order} ${limit}`
        const from = events.events.length
        await berth.send(id, [`Hang ${mark}`, '::hang'])
        await expect.poll(() => berth.modelCalls(`Hang ${mark}`).length).toBe(1)
        await berth.send(id, ['A', '::text a'])
        await berth.send(id, ['B', '::text b'])
        const atStart = await berth.list(id)
        const found = await readAll(berth, id, { limit, order }, async (page) => {
          if (page === 1) {
            await berth.client.beta.sessions.events.send(id, { events: [{ type: 'user.interrupt' }] })
            await events.turn(from)
          }
          if (page === 2) await berth.client.beta.sessions.update(id, { title: mark })
        })
        expect(new Set(ids(found)).size).toBe(found.length)
        expect(ids(found)).toEqual(order === 'asc' ? ids(atStart) : ids(atStart).toReversed())
      }
    }
  })

  story('refuses cursors of another list or order, and nonsense', async ({ berth }) => {
    const { id } = await berth.createSession()
    const other = await berth.createSession()
    await berth.runTurn(id, ['One', '::text 1'])
    const list = (session: string, params: EventListParams) => berth.client.beta.sessions.events.list(session, params)
    const { next_page } = await list(id, { limit: 2 })
    const page = next_page ?? ''
    await expect(list(other.id, { page })).rejects.toMatchObject(bad)
    await expect(list(id, { page, order: 'desc' })).rejects.toMatchObject(bad)
    await expect(list(id, { page: 'page_x' })).rejects.toMatchObject(bad)
    await expect(list(id, { page: `${page}x` })).rejects.toMatchObject(bad)
    await expect(list(id, { page, 'created_at[gt]': '2999-01-01T00:00:00Z' })).rejects.toMatchObject(bad)
    await expect(list(id, { limit: 0 })).rejects.toMatchObject(bad)
    await expect(list(id, { limit: 1001 })).rejects.toMatchObject(bad)
    // Limit and types may change between pages.
    const whole = await berth.list(id)
    expect((await list(id, { page, limit: 100 })).data).toEqual(whole.slice(2))
    expect((await list(id, { page, types: ['session.status_idle'] })).data).toEqual(whole.slice(-1))
  })
})

describe('the list of sessions', () => {
  story('shows those that were there once each while others come, forth and back', async ({ berth }) => {
    const agent = await berth.createAgent()
    const create = async () => (await berth.createSession({ agent: agent.id })).id
    const made: string[] = []
    for (let n = 0; n < 9; n++) made.push(await create())
    for (const order of ['asc', 'desc'] as const) {
      const params = { agent_id: agent.id, limit: 4, order }
      const atStart = [...made]
      let page = await berth.client.beta.sessions.list(params)
      expect(page.prev_page).toBeNull()
      const forth = ids(page.data)
      for (; page.hasNextPage(); forth.push(...ids(page.data))) {
        made.push(await create())
        page = await page.getNextPage()
      }
      // New ones are at the front of the list that begins with the newest, and at the end of the other.
      expect(forth).toEqual(order === 'asc' ? made : atStart.toReversed())
      const back = ids(page.data)
      while (page.prev_page !== null) {
        page = await berth.client.beta.sessions.list({ ...params, page: page.prev_page })
        back.unshift(...ids(page.data))
      }
      expect(back).toEqual(order === 'asc' ? made : made.toReversed())
    }
  })
})
