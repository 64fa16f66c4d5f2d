/** The server's side of the gateway's control API. */
import { request } from 'node:http'
import { z } from 'zod'
import { BerthError, type ErrorCode, errorCodes } from './error.ts'
import {
  authority,
  type Authority,
  budgetChange,
  egressDecisions,
  type EgressDecisions,
  type GatewayHealth,
  gatewayHealth,
  routedSessions,
  type SessionBudget,
  sessionRoute,
  type SessionRouteParams,
  sessionUsage,
  type SessionUsage,
  usageGroups,
  type UsageGroups,
  usageQuestion,
  type UsageQuestion,
} from './gateway.ts'
import {
  credentialValidation,
  type CredentialValidation,
  gatewayVault,
  type GatewayVault,
  gatewayVaults,
  type GatewayVaults,
} from './gateway-vault.ts'

/**
 * Every call makes one attempt on a connection of its own, so that a gateway restarting in between is noticed at once. All are
 * idempotent. Throws `unavailable` when no gateway answers, `timeout` after 15 s, and what the gateway says (`invalid_request`, `not_found`).
 */
export interface GatewayClient {
  health(signal?: AbortSignal): Promise<GatewayHealth>
  /** Resolves when the session's socket can be connected to. */
  route(sessionId: string, route: SessionRouteParams, signal?: AbortSignal): Promise<void>
  unroute(sessionId: string, signal?: AbortSignal): Promise<void>
  /** Ids of the sessions that have sockets, in no order. */
  sessions(signal?: AbortSignal): Promise<string[]>
  /** Holds for the session's next model request. */
  setBudget(sessionId: string, budget: SessionBudget | null, signal?: AbortSignal): Promise<void>
  usage(sessionId: string, signal?: AbortSignal): Promise<SessionUsage>
  sumUsage(question: UsageQuestion, signal?: AbortSignal): Promise<UsageGroups>
  /** What was decided about its way out, newest first: at most `limit` (1000) of those before the decision `before`; and how much went by it. */
  egress(sessionId: string, page: EgressPage, signal?: AbortSignal): Promise<EgressDecisions>
  /** Holds for the next request of every session that has the vault. */
  putVault(vaultId: string, vault: GatewayVault, signal?: AbortSignal): Promise<void>
  removeVault(vaultId: string, signal?: AbortSignal): Promise<void>
  /** By which sandboxes know the gateway when it speaks for a host. */
  authority(signal?: AbortSignal): Promise<Authority>
  /** Those behind the id `after`, at most `limit` (1000), in ascending order. */
  listVaults(page: VaultsPage, signal?: AbortSignal): Promise<GatewayVaults['vaults']>
  /** Tries an OAuth credential at its MCP server. `timeout` when that takes too long. */
  validateCredential(vaultId: string, credentialId: string, signal?: AbortSignal): Promise<CredentialValidation>
  /** Resolves when it was told; it may take 10 s to end. */
  shutdown(signal?: AbortSignal): Promise<void>
}

export interface EgressPage {
  readonly before: number | undefined
  readonly limit: number
}

export interface VaultsPage {
  /** Empty: from the first. */
  readonly after: string
  readonly limit: number
}

const TIMEOUT_MS = 15_000
const MAX_ANSWER = 4 * 1024 * 1024

const codes = Object.keys(errorCodes).filter((code): code is ErrorCode => code in errorCodes)
const failure = z.object({ error: z.object({ message: z.string(), code: z.enum(codes) }) })

export function openGatewayClient(controlSocket: string): GatewayClient {
  const session = (id: string) => `/sessions/${encodeURIComponent(id)}`
  const call = (method: string, path: string, options: { body?: object; signal?: AbortSignal | undefined }) =>
    exchange({ controlSocket, method, path, ...options })
  return {
    health: async (signal) => gatewayHealth.parse(await call('GET', '/health', { signal })),
    route: async (id, route, signal) =>
      void (await call('PUT', session(id), { body: sessionRoute.parse(route), signal })),
    unroute: async (id, signal) => void (await call('DELETE', session(id), { signal })),
    sessions: async (signal) => routedSessions.parse(await call('GET', '/sessions', { signal })).sessions,
    setBudget: async (id, budget, signal) =>
      void (await call('PUT', `${session(id)}/budget`, { body: budgetChange.parse({ budget }), signal })),
    sumUsage: async (question, signal) =>
      usageGroups.parse(await call('POST', '/usage', { body: usageQuestion.parse(question), signal })),
    usage: async (id, signal) => sessionUsage.parse(await call('GET', `${session(id)}/usage`, { signal })),
    egress: async (id, { before, limit }, signal) => {
      const query = new URLSearchParams({
        limit: String(limit),
        ...(before === undefined ? {} : { before: String(before) }),
      })
      const path = `${session(id)}/egress?${query.toString()}`
      return egressDecisions.parse(await call('GET', path, { signal }))
    },
    putVault: async (id, vault, signal) =>
      void (await call('PUT', `/vaults/${encodeURIComponent(id)}`, { body: gatewayVault.parse(vault), signal })),
    removeVault: async (id, signal) => void (await call('DELETE', `/vaults/${encodeURIComponent(id)}`, { signal })),
    authority: async (signal) => authority.parse(await call('GET', '/authority', { signal })),
    listVaults: async ({ after, limit }, signal) => {
      const query = new URLSearchParams({ limit: String(limit), after })
      return gatewayVaults.parse(await call('GET', `/vaults?${query.toString()}`, { signal })).vaults
    },
    validateCredential: async (vaultId, credentialId, signal) => {
      const path = `/vaults/${encodeURIComponent(vaultId)}/credentials/${encodeURIComponent(credentialId)}/validate`
      return credentialValidation.parse(await call('POST', path, { signal }))
    },
    shutdown: async (signal) => void (await call('POST', '/shutdown', { signal })),
  }
}

interface Exchange {
  readonly controlSocket: string
  readonly method: string
  readonly path: string
  readonly body?: object
  readonly signal?: AbortSignal | undefined
}

/** The parsed answer; undefined for one without a body. */
async function exchange(given: Exchange): Promise<unknown> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  const signal = given.signal === undefined ? timeout : AbortSignal.any([given.signal, timeout])
  try {
    const { status, text } = await send(given, signal)
    if (status >= 300) throw refusal(status, text)
    return text === '' ? undefined : JSON.parse(text)
  } catch (error) {
    if (error instanceof BerthError) throw error
    given.signal?.throwIfAborted()
    if (timeout.aborted) throw new BerthError('timeout', 'The gateway did not answer in time', { cause: error })
    // Its address on this machine is not for clients of the API.
    const cause = new Error(`at ${given.controlSocket}`, { cause: error })
    throw new BerthError('unavailable', 'The gateway does not answer', { cause })
  }
}

function send(given: Exchange, signal: AbortSignal): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const body = given.body === undefined ? undefined : JSON.stringify(given.body)
    const outgoing = request({
      socketPath: given.controlSocket,
      method: given.method,
      path: given.path,
      headers: { host: 'gateway', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      agent: false,
      signal,
    })
    outgoing.on('error', reject)
    outgoing.on('response', (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (part: string) => {
        text += part
        if (text.length > MAX_ANSWER) incoming.destroy(new Error('the answer is too long'))
      })
      incoming.on('error', reject)
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 500, text }))
    })
    outgoing.end(body)
  })
}

function refusal(status: number, text: string): BerthError {
  try {
    const { error } = failure.parse(JSON.parse(text))
    return new BerthError(error.code, error.message)
  } catch (cause) {
    return new BerthError('internal', `The gateway answered with status ${status}`, { cause })
  }
}
