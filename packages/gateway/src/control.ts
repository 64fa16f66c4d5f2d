import { chmod, rename, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { BerthError, errorCodes, isBerthError } from '@berth/protocol/error'
import {
  type Authority,
  budgetChange,
  type EgressDecisions,
  type GatewayHealth,
  type RoutedSessions,
  sessionRoute,
  type SessionUsage,
  type UsageGroups,
  usageQuestion,
} from '@berth/protocol/gateway'
import { type CredentialValidation, gatewayVault, type GatewayVaults } from '@berth/protocol/gateway-vault'
import { z } from 'zod'
import type { Accounts } from './accounts.ts'
import type { Audit } from './egress/audit.ts'
import type { Traffic } from './egress/traffic.ts'
import type { Ledger } from './ledger.ts'
import type { Logger } from './logger.ts'
import { validateCredential, type ValidationParts } from './mcp/validate.ts'
import { checkId, type Routes } from './routes.ts'
import type { CertificateAuthority } from './tls/certificate-authority.ts'
import type { Vaults } from './vaults/vaults.ts'

const MAX_BODY = 1024 * 1024

export interface ControlParts {
  readonly routes: Routes
  readonly ledger: Ledger
  readonly accounts: Accounts
  readonly audit: Audit
  readonly traffic: Traffic
  readonly vaults: Vaults
  readonly authority: CertificateAuthority
  readonly validation: ValidationParts
  readonly logger: Logger
  readonly health: () => GatewayHealth
  readonly shutdown: () => void
}

interface Answer {
  readonly status: number
  readonly body?:
    | GatewayHealth
    | RoutedSessions
    | SessionUsage
    | UsageGroups
    | EgressDecisions
    | Authority
    | CredentialValidation
    | GatewayVaults
}

/** The control API on its unix socket. Whoever can open the socket may do everything. */
export class Control implements AsyncDisposable {
  readonly #server: Server
  readonly #watchers: ReadonlySet<ServerResponse>

  private constructor(server: Server, watchers: ReadonlySet<ServerResponse>) {
    this.#server = server
    this.#watchers = watchers
  }

  /** Takes the place of the socket that a killed process left. */
  static async open(parts: ControlParts, path: string): Promise<Control> {
    const watchers = new Set<ServerResponse>()
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
      if (request.method === 'GET' && request.url === '/end') watch(watchers, response)
      else void respond(parts, request, response)
    })
    const temporary = `${path}.new`
    await rm(temporary, { force: true })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(temporary, resolve)
    })
    await chmod(temporary, 0o600)
    await rename(temporary, path)
    return new Control(server, watchers)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const watcher of this.#watchers) watcher.end()
    this.#server.closeIdleConnections()
    await closed
  }
}

/** An answer that ends when the gateway does, in whatever way. */
function watch(watchers: Set<ServerResponse>, response: ServerResponse): void {
  watchers.add(response)
  response.on('error', () => undefined).on('close', () => watchers.delete(response))
  response.writeHead(200, { connection: 'close' }).flushHeaders()
}

async function respond(parts: ControlParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const { status, body } = await dispatch(parts, request)
    response.writeHead(status, {
      connection: 'close',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    })
    response.end(body === undefined ? undefined : JSON.stringify(body))
  } catch (error) {
    const shown = isBerthError(error) ? error : new BerthError('internal', 'The gateway has failed; its log has more')
    if (shown !== error) parts.logger.error({ err: error }, 'control request failed')
    const { status, type } = errorCodes[shown.code]
    response.writeHead(status, { connection: 'close', 'content-type': 'application/json' })
    response.end(JSON.stringify({ type: 'error', error: { type, message: shown.message, code: shown.code } }))
  }
}

async function dispatch(parts: ControlParts, request: IncomingMessage): Promise<Answer> {
  const call = `${request.method ?? ''} ${request.url ?? ''}`
  if (call === 'GET /health') return { status: 200, body: parts.health() }
  if (call === 'GET /authority') return { status: 200, body: { certificate: parts.authority.certificate } }
  if (call === 'GET /sessions') return { status: 200, body: { sessions: parts.routes.ids } }
  if (call === 'POST /shutdown') {
    parts.shutdown()
    return { status: 202 }
  }
  if (call === 'POST /usage') {
    return { status: 200, body: await parts.ledger.groups(await readBody(request, usageQuestion.strict())) }
  }
  const decisions = /^GET \/sessions\/([^/?]+)\/egress\?(.*)$/.exec(call)
  if (decisions !== null) return { status: 200, body: await listDecisions(parts, decisions) }
  const [, vaultsQuery] = /^GET \/vaults\?(.*)$/.exec(call) ?? []
  if (vaultsQuery !== undefined) return { status: 200, body: listVaults(parts.vaults, vaultsQuery) }
  const [, change, vaultId] = /^(PUT|DELETE) \/vaults\/([^/?]+)$/.exec(call) ?? []
  if (vaultId !== undefined) {
    if (change === 'PUT') await parts.vaults.put(vaultId, await readBody(request, gatewayVault))
    else await parts.vaults.remove(vaultId)
    await parts.validation.tokens.forgetOthers()
    return { status: 204 }
  }
  const tried = /^POST \/vaults\/([^/?]+)\/credentials\/([^/?]+)\/validate$/.exec(call)
  if (tried !== null) return { status: 200, body: await validate(parts, tried) }
  const [, verb, id, what = ''] = /^(GET|PUT|DELETE) \/sessions\/([^/?]+)(\/usage|\/budget)?$/.exec(call) ?? []
  if (id === undefined) throw new BerthError('not_found', 'The gateway has no such route')
  checkId(id)
  switch (`${verb} ${what}`) {
    case 'PUT ':
      await parts.routes.put(id, await readBody(request, sessionRoute.strict()))
      return { status: 204 }
    case 'DELETE ':
      await parts.routes.remove(id)
      return { status: 204 }
    case 'PUT /budget':
      await parts.routes.setBudget(id, (await readBody(request, budgetChange.strict())).budget)
      return { status: 204 }
    case 'GET /usage':
      return { status: 200, body: await usageOf(parts, id) }
    default:
      throw new BerthError('not_found', 'The gateway has no such route')
  }
}

const egressQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1001),
  before: z.coerce.number().int().min(1).optional(),
})

async function listDecisions(
  { audit, traffic }: ControlParts,
  [, id = '', query]: RegExpExecArray,
): Promise<EgressDecisions> {
  checkId(id)
  const page = egressQuery.safeParse(Object.fromEntries(new URLSearchParams(query)))
  if (!page.success) throw new BerthError('invalid_request', z.prettifyError(page.error))
  const decisions = await audit.list({ session_id: id, ...page.data })
  return { session_id: id, decisions, ...(await traffic.total(id)) }
}

async function validate(
  parts: ControlParts,
  [, vaultId = '', id = '']: RegExpExecArray,
): Promise<CredentialValidation> {
  const held = parts.vaults.find(vaultId, id)
  if (held === undefined) throw new BerthError('not_found', `The gateway has no credential ${id} in vault ${vaultId}`)
  const { credential } = held
  if (credential.type === 'environment_variable') {
    throw new BerthError('invalid_request', `credential ${id} is for no MCP server, where it could be tried`)
  }
  return await validateCredential(parts.validation, { ...held, credential })
}

const vaultsPage = z.strictObject({ limit: z.coerce.number().int().min(1).max(1000), after: z.string().default('') })

function listVaults(vaults: Vaults, query: string): GatewayVaults {
  const page = vaultsPage.safeParse(Object.fromEntries(new URLSearchParams(query)))
  if (!page.success) throw new BerthError('invalid_request', z.prettifyError(page.error))
  return { vaults: vaults.list(page.data) }
}

async function usageOf({ routes, ledger, accounts }: ControlParts, id: string): Promise<SessionUsage> {
  const payer = routes.payer(id)
  const stopped = payer === undefined ? null : await accounts.stoppedOf(payer)
  return { session_id: id, models: await ledger.usage(id), stopped }
}

async function readBody<S extends z.ZodType>(request: IncomingMessage, schema: S): Promise<z.output<S>> {
  const parsed = schema.safeParse(await readJson(request))
  if (parsed.success) return parsed.data
  throw new BerthError('invalid_request', z.prettifyError(parsed.error))
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue
    bytes += chunk.length
    if (bytes > MAX_BODY) throw new BerthError('too_large', 'The body is over 1 MiB')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    throw new BerthError('invalid_request', 'The body is not valid JSON', { cause: error })
  }
}
