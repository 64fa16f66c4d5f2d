import type { Replacement } from './replacer.ts'

/** Shorter ones stand everywhere. */
const MIN_SECRET = 4
const MIN_ENCODED = 8

type Form = (text: string) => string

export interface Shown {
  readonly name: string
  readonly value: string
  /** Stands for it. */
  readonly placeholder: string
}

const asIs: Form = (text) => text
const inJson: Form = (text) => JSON.stringify(text).slice(1, -1)
const inUrl: Form = (text) => encodeURIComponent(text.toWellFormed())
const inUrlStrictly: Form = (text) =>
  inUrl(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
const inForm: Form = (text) => new URLSearchParams([['', text]]).toString().slice(1)
/** Without its end, which depends on what follows. */
const inBase64: Form = (text) => {
  const bytes = Buffer.from(text)
  return bytes.subarray(0, bytes.length - (bytes.length % 3)).toString('base64')
}
const inBase64Url: Form = (text) => inBase64(text).replaceAll('+', '-').replaceAll('/', '_')

const forms: readonly Form[] = [asIs, inJson, inUrl, inUrlStrictly, inForm, inBase64, inBase64Url]

/** How a program that had the secret would have written it into a body of this type. */
export function formFor(contentType: string | undefined): Form {
  const type = contentType?.split(';')[0]?.trim().toLowerCase() ?? ''
  if (type === 'application/json' || type.endsWith('+json')) return inJson
  return type === 'application/x-www-form-urlencoded' ? inForm : asIs
}

/** By which a secret becomes what may be shown in its place, in the forms in which answers show what they were sent. */
export function backwards(secrets: readonly Shown[]): Replacement[] {
  const found = new Map<string, Replacement>()
  for (const { name, value, placeholder } of secrets) {
    if (value.length < MIN_SECRET) continue
    for (const form of forms) {
      const from = form(value)
      if (found.has(from) || (form !== asIs && from.length < MIN_ENCODED)) continue
      found.set(from, { name, from: Buffer.from(from), to: Buffer.from(form(placeholder)) })
    }
  }
  return [...found.values()]
}
