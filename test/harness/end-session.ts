import type Anthropic from '@anthropic-ai/sdk'
import { BadRequestError, NotFoundError } from '@anthropic-ai/sdk'
import { waitUntil } from './wait-until.ts'

/** Deletes the session, interrupting it for as long as it runs. One that is gone is fine. */
export async function endSession(client: Anthropic, sessionId: string): Promise<void> {
  await waitUntil(`session ${sessionId} is deleted`, () => tryToEnd(client, sessionId))
}

async function tryToEnd(client: Anthropic, sessionId: string): Promise<boolean> {
  const { sessions } = client.beta
  try {
    const { status } = await sessions.retrieve(sessionId)
    if (status === 'running' || status === 'rescheduling') {
      await sessions.events.send(sessionId, { events: [{ type: 'user.interrupt' }] })
      return false
    }
    await sessions.delete(sessionId)
    return true
  } catch (error) {
    if (error instanceof NotFoundError) return true
    // It has begun to run meanwhile.
    if (error instanceof BadRequestError) return false
    throw error
  }
}
