/** When a session's events were committed, as the server itself says. */
import type { Anthropic } from '@anthropic-ai/sdk'

type Types = NonNullable<Anthropic.Beta.Sessions.EventListParams['types']>

/** Of the newest hundred events of these types, oldest first; in ms since 1970. */
export async function eventTimes(client: Anthropic, sessionId: string, types: Types): Promise<number[]> {
  const { data } = await client.beta.sessions.events.list(sessionId, { types, order: 'desc', limit: 100 })
  return data.flatMap(({ processed_at }) => (processed_at == null ? [] : [Date.parse(processed_at)])).toReversed()
}
