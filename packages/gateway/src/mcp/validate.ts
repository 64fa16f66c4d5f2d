import type { CredentialValidation, McpCredential } from '@berth/protocol/gateway-vault'
import { vettedAddresses } from '../egress/way-out.ts'
import type { Held } from '../vaults/vaults.ts'
import { ask } from './ask.ts'
import type { BearerTokens } from './bearer-tokens.ts'
import { capture, type Captured, readShort } from './capture.ts'
import { orAborted } from './or-aborted.ts'
import { readPlace } from './place.ts'
import { McpRefusal } from './refusal.ts'
import { redactions } from './scrub.ts'
import type { Reach, Refreshed } from './token-endpoint.ts'

const PROBE_MS = 5_000
/** Less than whoever asks for it waits. */
const WHOLE_MS = 13_000
const METHOD = 'initialize'

export interface ValidationParts {
  readonly tokens: BearerTokens
  readonly reach: Reach
  readonly version: string
}

/** `http_response` undefined: it has gone well. */
interface Probed {
  readonly http_response: Captured | null | undefined
}

/** Tries a credential at its MCP server, and a refresh if the server refuses it. No session's policy applies. Takes at most 13 s. */
export async function validateCredential(
  parts: ValidationParts,
  held: Held<McpCredential>,
): Promise<CredentialValidation> {
  try {
    return await validate(parts, held)
  } catch (error) {
    // There is no token that could be sent.
    if (!(error instanceof McpRefusal)) throw error
    return { status: 'invalid', has_refresh_token: false, mcp_probe: null, refresh: null }
  }
}

async function validate(parts: ValidationParts, held: Held<McpCredential>): Promise<CredentialValidation> {
  const { credential } = held
  const late = AbortSignal.timeout(WHOLE_MS)
  const first = await probe(parts, held, late)
  if (credential.type === 'static_bearer') return answerOf(first, { has_refresh_token: false, refresh: null })
  const oauth = { ...held, credential }
  const has_refresh_token = credential.refresh !== null && parts.tokens.current(oauth).refresh_token !== null
  if (first.http_response?.status !== 401) return answerOf(first, { has_refresh_token, refresh: null })
  const refreshed = await inTime(parts.tokens.refresh(oauth), late)
  const told = { has_refresh_token, refresh: tell(refreshed) }
  if (refreshed?.status === 'succeeded') return answerOf(await probe(parts, held, late), told)
  // Whoever does not reach the token endpoint does not know whether another token would do.
  return refreshed?.status === 'connect_error' ? { ...answerOf(first, told), status: 'unknown' } : answerOf(first, told)
}

/** A refresh that others may wait for, too, goes on when nobody waits here any more. */
async function inTime(refreshed: Promise<Refreshed | undefined>, late: AbortSignal): Promise<Refreshed | undefined> {
  try {
    return await orAborted(refreshed, late)
  } catch (error) {
    if (!late.aborted) throw error
    return { status: 'connect_error', why: 'the token endpoint takes too long' }
  }
}

function answerOf(
  { http_response }: Probed,
  told: Pick<CredentialValidation, 'has_refresh_token' | 'refresh'>,
): CredentialValidation {
  if (http_response === undefined) return { status: 'valid', ...told, mcp_probe: null }
  const isRefused = http_response?.status === 401 || http_response?.status === 403
  return { status: isRefused ? 'invalid' : 'unknown', ...told, mcp_probe: { method: METHOD, http_response } }
}

function tell(refreshed: Refreshed | undefined): CredentialValidation['refresh'] {
  if (refreshed === undefined) return { status: 'no_refresh_token', http_response: null }
  return { status: refreshed.status, http_response: refreshed.status === 'failed' ? refreshed.response : null }
}

async function probe(
  { tokens, reach, version }: ValidationParts,
  held: Held<McpCredential>,
  late: AbortSignal,
): Promise<Probed> {
  const place = readPlace(held.credential.mcp_server_url)
  if ('fault' in place) return { http_response: null }
  const { token, secrets } = tokens.asItIs(held)
  const headers = ['Content-Type', 'application/json', 'Accept', 'application/json, text/event-stream']
  const question = {
    place,
    method: 'POST',
    headers: [...headers, 'Authorization', `Bearer ${token}`],
    body: Buffer.from(JSON.stringify(initialize(version))),
  }
  const signal = AbortSignal.any([late, AbortSignal.timeout(PROBE_MS)])
  try {
    const addresses = await vettedAddresses(reach, place.target)
    using answered = await ask(question, {
      addresses,
      trust: reach.trust(),
      signal,
      meter: undefined,
      idleMs: PROBE_MS,
    })
    const { statusCode = 0 } = answered.incoming
    if (statusCode >= 200 && statusCode < 300) return { http_response: undefined }
    return { http_response: capture(await readShort(answered.incoming), redactions(secrets)) }
  } catch {
    return { http_response: null }
  }
}

function initialize(version: string): object {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'berth', version } }
  return { jsonrpc: '2.0', id: 1, method: METHOD, params }
}
