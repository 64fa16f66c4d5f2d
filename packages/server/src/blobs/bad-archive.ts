import { BerthError } from '@berth/protocol'

/** The helper in the sandbox says what cannot be: `internal`, `details.error_code` `bad_archive`. */
export function badArchive(what: string, cause?: unknown): BerthError {
  return new BerthError('internal', `the files that the sandbox sent make no sense: ${what}`, {
    details: { error_code: 'bad_archive' },
    cause,
  })
}
