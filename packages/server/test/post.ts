/** POSTs as the tests of repeated requests send them, and what they look at in the answer. */
import { z } from 'zod'
import type { TestServer } from './serve-app.ts'

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

const ofConnection = new Set(['date', 'connection', 'keep-alive'])

/** The answer, but for what belongs to the connection. */
export async function post(
  server: TestServer,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Answer> {
  const init = body === undefined ? {} : { body: JSON.stringify(body) }
  const answer = await server.fetch(path, { method: 'POST', headers, ...init })
  const kept = [...answer.headers].filter(([name]) => !ofConnection.has(name))
  return { status: answer.status, headers: Object.fromEntries(kept), body: await answer.text() }
}

export const idOf = (answer: Answer): string => z.object({ id: z.string() }).parse(JSON.parse(answer.body)).id

/** How many agents there are of this name. */
export async function countAgents(server: TestServer, name: string): Promise<number> {
  let found = 0
  for await (const agent of server.client.beta.agents.list({ limit: 100 })) if (agent.name === name) found += 1
  return found
}

export async function newSession(server: TestServer): Promise<string> {
  const agent = await server.client.beta.agents.create({ name: 'of a session', model: 'm' })
  const environment = await server.client.beta.environments.create({ name: 'e' })
  return (await server.client.beta.sessions.create({ agent: agent.id, environment_id: environment.id })).id
}

export const say = (words: string) => ({
  events: [{ type: 'user.message' as const, content: [{ type: 'text' as const, text: words }] }],
})

export async function countMessages(server: TestServer, sessionId: string): Promise<number> {
  const { data } = await server.client.beta.sessions.events.list(sessionId)
  return data.filter(({ type }) => type === 'user.message').length
}
