/** The scripted model in a process of its own, as Berth and the floors both ask it. */
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type Child, startChild } from './child.ts'

const main = fileURLToPath(import.meta.resolve('@berth/scripted-model/main'))

export function startModel(): Promise<Child<{ url: string }>> {
  return startChild([main, '--listen', '127.0.0.1:0', '--with-stdin'], z.object({ url: z.string() }))
}

const requests = z.array(
  z.object({
    prompt: z.string(),
    started_at: z.string(),
    /** null: nothing of the answer was sent yet. */
    status: z.number().nullable(),
    last_user: z.array(z.looseObject({ type: z.string() })),
  }),
)

export interface ModelCall {
  /** When it came in, in ms since 1970. */
  readonly at: number
  readonly isBeingAnswered: boolean
  /** The last user message: the blocks that came since the answer before. */
  readonly news: readonly { readonly type: string; readonly [field: string]: unknown }[]
}

/** Model calls whose prompt begins with this line, oldest first, of the newest thousand of all. */
export async function callsFor(modelUrl: string, firstLine: string): Promise<ModelCall[]> {
  const log = requests.parse(await (await fetch(`${modelUrl}/requests`)).json())
  return log
    .filter(({ prompt }) => prompt === firstLine)
    .map(({ started_at, status, last_user }) => ({
      at: Date.parse(started_at),
      isBeingAnswered: status !== null,
      news: last_user,
    }))
}

/** When the newest of them came in, in ms since 1970. */
export async function requestedAt(modelUrl: string, firstLine: string): Promise<number> {
  return (await callsFor(modelUrl, firstLine)).at(-1)?.at ?? Number.NaN
}
