import { z } from 'zod'
import type { SeenEvent } from '../evidence.ts'

const blocks = z.array(z.looseObject({ text: z.string().optional() }))

export function textOf({ content }: Pick<SeenEvent, 'content'>): string {
  const parsed = blocks.safeParse(content)
  return parsed.success ? parsed.data.map(({ text }) => text ?? '').join('') : ''
}
