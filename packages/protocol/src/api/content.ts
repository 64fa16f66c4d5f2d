/** Content blocks: what messages and tool results are made of. */
import { z } from 'zod'
import { idText, prose, text } from './text.ts'

/** Linear in the length, unlike a pattern with groups: a block may be 32 MiB. */
function isBase64(value: string): boolean {
  const body = value.replace(/={1,2}$/, '')
  return value.length > 0 && value.length % 4 === 0 && !/[^0-9A-Za-z+/]/.test(body)
}

const base64 = z.string().refine(isBase64, { error: 'must be base64 with padding' })
const urlText = text({ min: 1, max: 8192 })

const urlSource = z.strictObject({ type: z.literal('url'), url: urlText })
const fileSource = z.strictObject({ type: z.literal('file'), file_id: idText })

const oneOf = (types: readonly string[]) =>
  z.string().refine((value) => types.includes(value), { error: `must be one of ${types.join(', ')}` })

export const imageMediaTypes = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'] as const
export const documentMediaTypes = ['application/pdf'] as const

export const textBlock = z.strictObject({ type: z.literal('text'), text: prose }).meta({ id: 'TextBlock' })

export const imageBlock = z
  .strictObject({
    type: z.literal('image'),
    source: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('base64'), media_type: oneOf(imageMediaTypes), data: base64 }),
      urlSource,
      fileSource,
    ]),
  })
  .meta({ id: 'ImageBlock' })

export const documentBlock = z
  .strictObject({
    type: z.literal('document'),
    source: z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('base64'), media_type: oneOf(documentMediaTypes), data: base64 }),
      z.strictObject({ type: z.literal('text'), media_type: z.literal('text/plain'), data: prose }),
      urlSource,
      fileSource,
    ]),
    title: prose.nullish(),
    context: prose.nullish(),
  })
  .meta({ id: 'DocumentBlock' })

export const searchResultBlock = z
  .strictObject({
    type: z.literal('search_result'),
    source: prose,
    title: prose,
    content: z.array(textBlock),
    citations: z.strictObject({ enabled: z.boolean() }),
  })
  .meta({ id: 'SearchResultBlock' })

/** Stands for content that is withheld from the reader. Clients may not send it. */
export const redactedBlock = z.strictObject({ type: z.literal('redacted') }).meta({ id: 'RedactedBlock' })

export const messageBlock = z.discriminatedUnion('type', [textBlock, imageBlock, documentBlock, redactedBlock])
export const resultBlock = z.discriminatedUnion('type', [textBlock, imageBlock, documentBlock, searchResultBlock])

export type TextBlock = z.infer<typeof textBlock>
export type ImageBlock = z.infer<typeof imageBlock>
export type DocumentBlock = z.infer<typeof documentBlock>
export type MessageBlock = z.infer<typeof messageBlock>
export type ResultBlock = z.infer<typeof resultBlock>
