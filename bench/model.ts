/** The scripted model in a process of its own, as Berth and the floors both ask it. */
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type Child, startChild } from './child.ts'

const main = fileURLToPath(import.meta.resolve('@berth/scripted-model/main'))

export function startModel(): Promise<Child<{ url: string }>> {
  return startChild([main, '--listen', '127.0.0.1:0', '--with-stdin'], z.object({ url: z.string() }))
}

const requests = z.array(z.object({ prompt: z.string(), started_at: z.string() }))

/** When the newest model call whose prompt begins with this line came in, in ms since 1970. */
export async function requestedAt(modelUrl: string, firstLine: string): Promise<number> {
  const log = requests.parse(await (await fetch(`${modelUrl}/requests`)).json())
  return Date.parse(log.findLast(({ prompt }) => prompt === firstLine)?.started_at ?? '')
}
