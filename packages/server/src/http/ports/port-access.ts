/** Who may reach a port: whoever has an API key of the session's workspace, or a signed URL, or the cookie that such a URL has left. */
import { BerthError, isBerthError } from '@berth/protocol'
import type { Clock } from '../../domain/clock.ts'
import { endOfKey } from '../../domain/key.ts'
import type { PortAddresses, PortTarget } from '../../domain/port-address.ts'
import type { PortGrant, PortTokens } from '../../domain/port-token.ts'
import type { Engine } from '../../engine/engine.ts'
import type { StoredKey } from '../../store/keys.ts'
import type { Store } from '../../store/store.ts'
import type { KeyCheck } from '../key-check.ts'
import { cookieValues, type Header, valuesOf } from './port-headers.ts'

export interface AccessDeps {
  readonly store: Store
  readonly check: KeyCheck
  readonly engine: Pick<Engine, 'ports'>
  readonly addresses: PortAddresses
  readonly tokens: PortTokens
  readonly clock: Clock
}

export interface Asked extends PortTarget {
  readonly method: string
  readonly host: string
  readonly headers: readonly Header[]
  /** The signed URL's. */
  readonly token: string | undefined
  /** Where it comes from. */
  readonly source: string
}

export interface Access {
  readonly workspaceId: string
  /** That was shown, or that made the signed URL: with it ends what it has opened. */
  readonly keyId: string
  /** Lower-case names of the headers in which there were credentials of ours. */
  readonly secret: ReadonlySet<string>
  /** Of a signed URL or its cookie. */
  readonly grant: PortGrant | undefined
}

/** The prefix keeps a page of another host from setting one of that name; it needs TLS. */
export function cookieName({ isSecure }: PortAddresses): string {
  return isSecure ? '__Host-berth-port' : 'berth-port'
}

/** `unauthenticated` or `forbidden` says what is wrong with what was shown. */
export async function admit(deps: AccessDeps, asked: Asked): Promise<Access> {
  const { key, secret } = await findKeys(deps, asked)
  if (key !== undefined) {
    if (key.scope === 'read') checkReading(asked)
    return { workspaceId: key.workspace_id, keyId: key.id, secret, grant: undefined }
  }
  const grant = readGrant(deps, asked)
  await checkGrant(deps, asked, grant)
  return { workspaceId: grant.workspaceId, keyId: grant.keyId, secret, grant }
}

/**
 * API keys in the headers that may hold one. What is no key of this server is the business of the agent's server, unless it looks like one: a
 * mistaken key is a secret too.
 */
async function findKeys(
  { check }: AccessDeps,
  { headers, source }: Asked,
): Promise<{ key: StoredKey | undefined; secret: ReadonlySet<string> }> {
  const secret = new Set<string>()
  let found: StoredKey | undefined
  for (const name of ['authorization', 'x-api-key']) {
    const [value, more] = valuesOf(headers, name)
    if (more !== undefined) throw new BerthError('invalid_request', `${name}: is there twice`)
    const key = name === 'authorization' ? /^Bearer +(\S+)$/i.exec(value ?? '')?.[1] : value?.trim()
    if (key === undefined) continue
    const isOurs = key.startsWith('berth_')
    const looked = isOurs ? await check.find(key, source) : await check.look(key)
    if ('fault' in looked) {
      if (isOurs || looked.isKnown) throw refused(`${name}: the API key ${looked.fault}`)
      continue
    }
    const { stored } = looked
    if (found !== undefined && found.id !== stored.id) throw refused('authorization and x-api-key hold different keys')
    found = stored
    secret.add(name)
  }
  return { key: found, secret }
}

function checkReading({ method, headers }: Asked): void {
  const isReading = (method === 'GET' || method === 'HEAD') && valuesOf(headers, 'upgrade').length === 0
  if (!isReading)
    throw new BerthError('forbidden', 'the scope of the API key is "read", which allows GET and HEAD alone')
}

function readGrant({ addresses, tokens, clock }: AccessDeps, asked: Asked): PortGrant {
  const now = clock.now()
  if (asked.token !== undefined) return tokens.read(asked.token, now)
  const cookies = cookieValues(asked.headers, cookieName(addresses)).slice(0, MAX_COOKIES)
  let refusal = refused('this port needs an API key ("Authorization: Bearer" or "x-api-key") or a signed URL')
  for (const cookie of cookies) {
    try {
      const grant = tokens.read(cookie, now)
      checkPage(asked, addresses.origin(asked.host))
      return grant
    } catch (error) {
      if (!isBerthError(error)) throw error
      refusal = error
    }
  }
  throw refusal
}

const MAX_COOKIES = 4

/**
 * A browser sends the cookie along with whatever a page of another session's origin asks of this one, for both are of one site. Only the
 * origin's own pages may ask; others may lead to it, in a window of its own.
 */
function checkPage({ headers, method }: Asked, own: string): void {
  const [origin] = valuesOf(headers, 'origin')
  const [site = 'none'] = valuesOf(headers, 'sec-fetch-site')
  const [dest] = valuesOf(headers, 'sec-fetch-dest')
  const isLed = method === 'GET' && dest === 'document'
  if ((origin ?? own) !== own || (site !== 'same-origin' && site !== 'none' && !isLed)) {
    throw new BerthError('forbidden', 'a page of another origin may not use the cookie of this one')
  }
}

async function checkGrant({ store, engine, clock }: AccessDeps, asked: Asked, grant: PortGrant): Promise<void> {
  const { workspaceId, sessionId, port, method } = grant
  if (sessionId !== asked.sessionId) throw wrong('another session')
  if (port !== asked.port) throw wrong(`port ${port}`)
  if (method !== 'any' && asked.method !== 'GET' && asked.method !== 'HEAD') throw wrong('GET, HEAD and WebSockets')
  const key = await store.findKey({ workspaceId, id: grant.keyId })
  const end = key === undefined ? 'is gone' : endOfKey(key, clock.now())
  if (end !== undefined) throw refused(`the API key that made the signed URL ${end}`)
  if ((await engine.ports.sandboxOf({ workspaceId, sessionId })) !== grant.sandboxId)
    throw wrong('a sandbox that is gone')
}

function refused(message: string): BerthError {
  return new BerthError('unauthenticated', message)
}

function wrong(whose: string): BerthError {
  return new BerthError('forbidden', `the signed URL is for ${whose}`)
}
