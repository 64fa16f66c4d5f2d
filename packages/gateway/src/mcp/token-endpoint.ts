import type { McpCredential } from '@berth/protocol/gateway-vault'
import { z } from 'zod'
import type { Trust } from '../egress/dial-tls.ts'
import type { Replacement } from '../injection/replacer.ts'
import { vettedAddresses, type WayOutParts } from '../egress/way-out.ts'
import { ask } from './ask.ts'
import { capture, type Captured, readShort, type Short } from './capture.ts'
import { readPlace } from './place.ts'
import { asMcpRefusal } from './refusal.ts'
import { redactions } from './scrub.ts'

/** What it takes to go where no session's policy applies: public addresses alone, and certificates that are checked. */
export type Reach = Pick<WayOutParts, 'resolver' | 'mayDial'> & { readonly trust: () => Trust }

export type RefreshTerms = NonNullable<Extract<McpCredential, { type: 'mcp_oauth' }>['refresh']>

export interface RefreshSecrets {
  readonly access_token: string
  readonly refresh_token: string
  readonly client_secret: string | null
}

export type Refreshed =
  | { readonly status: 'succeeded'; readonly tokens: Tokens }
  /** `why` is for messages: it has nothing secret. */
  | { readonly status: 'failed'; readonly why: string; readonly response: Captured }
  | { readonly status: 'connect_error'; readonly why: string }

const seconds = z.preprocess((value) => (typeof value === 'string' ? Number(value) : value), z.number().nonnegative())
const tokens = z.object({
  access_token: z.string().regex(/^[\x21-\x7e]+$/),
  token_type: z
    .string()
    .regex(/^bearer$/i)
    .optional(),
  expires_in: seconds.nullish(),
  refresh_token: z.string().min(1).nullish(),
})
type Tokens = z.infer<typeof tokens>
const oauthError = z.object({ error: z.string().regex(/^[a-z_]{1,40}$/) })

/** Asks a token endpoint for another access token (RFC 6749, 6). Never rejects. */
export async function refresh(
  reach: Reach,
  { terms, secrets, signal }: { terms: RefreshTerms; secrets: RefreshSecrets; signal: AbortSignal },
): Promise<Refreshed> {
  const place = readPlace(terms.token_endpoint)
  if ('fault' in place) return { status: 'connect_error', why: `the token endpoint ${place.fault}` }
  const { headers, form } = authenticated(terms, secrets)
  const question = {
    place,
    method: 'POST',
    headers: ['Content-Type', 'application/x-www-form-urlencoded', 'Accept', 'application/json', ...headers],
    body: Buffer.from(form.toString()),
  }
  try {
    const addresses = await vettedAddresses(reach, place.target)
    using answered = await ask(question, { addresses, trust: reach.trust(), signal, meter: undefined, idleMs: 15_000 })
    return judge(await readShort(answered.incoming), { host: place.target.host, terms, secrets })
  } catch (error) {
    const why = asMcpRefusal(error)?.message ?? 'the token endpoint cannot be asked'
    return { status: 'connect_error', why }
  }
}

/** How the client says who it is (RFC 6749, 2.3.1). */
function authenticated(terms: RefreshTerms, secrets: RefreshSecrets): { headers: string[]; form: URLSearchParams } {
  const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: secrets.refresh_token })
  if (terms.resource !== null) form.set('resource', terms.resource)
  if (terms.scope !== null) form.set('scope', terms.scope)
  switch (terms.token_endpoint_auth) {
    case 'client_secret_basic':
      return { headers: ['Authorization', `Basic ${basicOf(terms, secrets)}`], form }
    case 'client_secret_post':
      form.set('client_secret', secrets.client_secret ?? '')
      break
    case 'none':
  }
  form.set('client_id', terms.client_id)
  return { headers: [], form }
}

function basicOf({ client_id }: RefreshTerms, { client_secret }: RefreshSecrets): string {
  const encoded = [client_id, client_secret ?? ''].map((part) => new URLSearchParams([['', part]]).toString().slice(1))
  return Buffer.from(encoded.join(':')).toString('base64')
}

interface Judging {
  readonly host: string
  readonly terms: RefreshTerms
  readonly secrets: RefreshSecrets
}

function judge(short: Short, { host, terms, secrets }: Judging): Refreshed {
  const { incoming, text, isWhole } = short
  const status = incoming.statusCode ?? 0
  const known = [secrets.access_token, secrets.refresh_token, secrets.client_secret, basicOf(terms, secrets)]
  const parsed = tokens.safeParse(status === 200 && isWhole ? readJson(text) : undefined)
  if (parsed.success) return { status: 'succeeded', tokens: parsed.data }
  const response = status === 200 ? withoutBody(short) : capture(short, redactions(known))
  const named = oauthError.safeParse(readJson(text))
  const why = status === 200 ? 'without a token' : named.success ? `${status} ${named.data.error}` : String(status)
  return { status: 'failed', why: `the token endpoint at ${host} has answered ${why}`, response }
}

/** What has gone well may hold tokens that were not recognised as such. */
function withoutBody(short: Short): Captured {
  const nothing: readonly Replacement[] = []
  return { ...capture({ ...short, text: '' }, nothing), body_truncated: true }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
