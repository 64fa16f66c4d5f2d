import { randomUUID } from 'node:crypto'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type GatewayHealth, GATEWAY_PROTOCOL } from '@berth/protocol/gateway'
import { Admission } from './admission.ts'
import { Accounts } from './accounts.ts'
import { BodyBudget } from './body.ts'
import { scrubber } from './config.ts'
import { Control } from './control.ts'
import { Audit } from './egress/audit.ts'
import { egressParts } from './egress/config.ts'
import { Traffic } from './egress/traffic.ts'
import { fingerprint, type FixedConfig } from './fixed-config.ts'
import { Ledger } from './ledger.ts'
import { lockState } from './lock.ts'
import type { Logger } from './logger.ts'
import { openMcp } from './mcp/parts.ts'
import { Routes } from './routes.ts'
import { CertificateAuthority } from './tls/certificate-authority.ts'
import { Sealing } from '@berth/protocol/sealing'
import { Upstream } from './upstream.ts'
import { Vaults } from './vaults/vaults.ts'

/** Requests under way get this long to end by themselves when the gateway ends. */
const DRAIN_MS = 10_000
const CONCURRENCY = 16
const BODY_BYTES = 512 * 1024 * 1024

export interface GatewayOptions extends FixedConfig {
  /** State directory; made when missing. One gateway at a time has it. */
  readonly state: string
  readonly logger: Logger
  readonly now: () => Date
  readonly version: string
  /** It ends by itself after this long without a session. */
  readonly idleExitMs: number
}

/** Where a gateway's control API is, given its state directory. */
export function controlSocket(state: string): string {
  return join(state, 'control.sock')
}

/**
 * A running gateway. `ended` resolves when it has to stop (asked to, nothing to do, or its ledger is lost: then with that error), which
 * is done by disposing: it stops listening, lets requests end for 10 s, then cuts them, and writes the last rows.
 */
export interface Gateway extends AsyncDisposable {
  readonly control: string
  readonly ended: Promise<Error | undefined>
}

/** Throws `conflict` when the state directory is in use. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const { state, logger, now, metering } = options
  await mkdir(state, { recursive: true, mode: 0o700 })
  await chmod(state, 0o700)
  await using parts = new AsyncDisposableStack()
  parts.use(lockState(join(state, 'lock.db')))
  const ended = Promise.withResolvers<Error | undefined>()
  const idle = idleTimer(options.idleExitMs, () => ended.resolve(undefined))
  parts.defer(() => idle(1))
  // The threads take most of a start: they begin first, and at once.
  const ledgerOpening = Ledger.open(join(state, 'ledger.db'), now().toISOString(), ended.resolve)
  disposeOnceOpen(parts, ledgerOpening)
  const auditOpening = Audit.open(join(state, 'egress.db'))
  disposeOnceOpen(parts, auditOpening)
  const upstream = parts.use(new Upstream(options.upstream))
  const sealing = options.vaultKey === undefined ? undefined : new Sealing(options.vaultKey)
  const vaults = await Vaults.open({ directory: join(state, 'vaults'), sealing, logger })
  const authority = await CertificateAuthority.open({ directory: join(state, 'ca'), now })
  const [ledger, audit] = await Promise.all([ledgerOpening, auditOpening])
  const accounts = new Accounts({ ledger, metering, now })
  const traffic = parts.use(new Traffic({ record: audit, limit: options.egress.uploadLimit, logger }))
  const egress = egressParts(options.egress, { audit, traffic, vaults, authority, logger, now })
  const bodies = new BodyBudget(BODY_BYTES)
  const mcp = await openMcp(egress, { directory: join(state, 'oauth'), sealing, vaults, bodies })
  parts.use(mcp.tokens)
  const session = {
    upstream,
    ledger,
    metering,
    accounts,
    logger,
    now,
    scrub: scrubber(options.upstream),
    newId: () => `req_berth_${randomUUID().replaceAll('-', '')}`,
    bodies,
    admission: parts.use(new Admission()),
    concurrency: CONCURRENCY,
    egress,
    mcp,
  }
  const routes = await Routes.open({ directory: join(state, 'sessions'), session, logger, changed: idle })
  parts.defer(() => routes.drain(AbortSignal.timeout(DRAIN_MS)))
  idle(routes.size)
  const control = controlSocket(state)
  const health = (): GatewayHealth => healthOf(options, routes.size)
  const validation = { tokens: mcp.tokens, reach: mcp, version: options.version }
  const shutdown = (): void => ended.resolve(undefined)
  const asked = { routes, ledger, accounts, audit, traffic, vaults, authority, validation, logger, health, shutdown }
  parts.use(await Control.open(asked, control))
  const owned = parts.move()
  return { control, ended: ended.promise, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Whether or not anybody has waited for it by then; that it does not open is said to those who do. */
function disposeOnceOpen(parts: AsyncDisposableStack, opening: Promise<AsyncDisposable>): void {
  const settled = opening.catch(() => undefined)
  parts.defer(async () => {
    await (await settled)?.[Symbol.asyncDispose]()
  })
}

function healthOf(options: GatewayOptions, sessions: number): GatewayHealth {
  const { version } = options
  return { protocol: GATEWAY_PROTOCOL, version, pid: process.pid, upstream: fingerprint(options), sessions }
}

/** Takes the number of sessions; runs out when it has been 0 for `ms`. */
function idleTimer(ms: number, expired: () => void): (sessions: number) => void {
  let timer: NodeJS.Timeout | undefined
  return (sessions) => {
    clearTimeout(timer)
    timer = sessions === 0 ? setTimeout(expired, ms) : undefined
  }
}
