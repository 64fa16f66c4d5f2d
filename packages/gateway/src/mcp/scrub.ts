import type { Replacement } from '../egress/replace-stream.ts'

const REDACTED = Buffer.from('[redacted]')

/** Finds these secrets as they are, and as they stand in JSON, in URLs and in forms. */
export function redactions(secrets: readonly (string | null | undefined)[]): Replacement[] {
  const forms = secrets.flatMap((secret) =>
    secret === null || secret === undefined || secret === ''
      ? []
      : [
          secret,
          JSON.stringify(secret).slice(1, -1),
          encodeURIComponent(secret),
          new URLSearchParams([['', secret]]).toString().slice(1),
        ],
  )
  return [...new Set(forms)].map((form) => [Buffer.from(form), REDACTED])
}
