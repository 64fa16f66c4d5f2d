/** The path and the query of a request to a port: our token is taken out of it, and everything else left as it is, byte for byte. */
import { BerthError } from '@berth/protocol'

export const TOKEN_PARAM = 'berth_token'

export interface RequestTarget {
  /** What the agent's server is asked for. Begins with one slash. */
  readonly path: string
  readonly token: string | undefined
}

/** `invalid_request` for another form than a path, and for more than one token. */
export function takeToken(url: string): RequestTarget {
  if (!url.startsWith('/')) throw new BerthError('invalid_request', 'the request must be for a path')
  const start = url.indexOf('?')
  if (start === -1) return { path: url, token: undefined }
  const parts = url.slice(start + 1).split('&')
  const tokens = parts.filter(isToken)
  if (tokens.length === 0) return { path: url, token: undefined }
  if (tokens.length > 1) throw new BerthError('invalid_request', `${TOKEN_PARAM}: is there twice`)
  const rest = parts.filter((part) => !isToken(part)).join('&')
  const token = tokens[0]?.slice(TOKEN_PARAM.length + 1) ?? ''
  return { path: url.slice(0, start) + (rest === '' ? '' : `?${rest}`), token }
}

/** However its name is written, none gets through. */
function isToken(part: string): boolean {
  const name = part.split('=', 1)[0] ?? ''
  try {
    return decodeURIComponent(name) === TOKEN_PARAM
  } catch {
    return false
  }
}
