import { backwards } from '../injection/forms.ts'
import type { Replacement } from '../injection/replacer.ts'

/** Finds these secrets in the forms in which answers show what they were sent. */
export function redactions(secrets: readonly (string | null | undefined)[]): Replacement[] {
  const known = secrets.filter((secret) => secret !== null && secret !== undefined)
  return backwards(known.map((value) => ({ name: 'token', value, placeholder: '[redacted]' })))
}
