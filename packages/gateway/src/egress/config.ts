import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { isIP } from 'node:net'
import { readByteSize } from '@berth/protocol/byte-size'
import { BerthError } from '@berth/protocol/error'
import type { Logger } from '../logger.ts'
import { addressRule, openedNetworks } from './addresses.ts'
import type { CertificateAuthority } from '../tls/certificate-authority.ts'
import type { Vaults } from '../vaults/vaults.ts'
import type { Audit } from './audit.ts'
import { openTrust, type Trust } from './dial-tls.ts'
import type { EgressParts } from './proxy.ts'
import { openResolver } from './resolver.ts'
import type { Traffic } from './traffic.ts'

/** What an operator says about ways out. */
export interface EgressConfig {
  /** DNS servers, `address` or `address:port`; empty: those of the machine. */
  readonly dnsServers: readonly string[]
  /** Private networks that sandboxes may reach by the names of hosts. */
  readonly openedNetworks: readonly string[]
  /** Certificates (PEM) of authorities of hosts, beside those that the machine knows. */
  readonly authorities: string | undefined
  /** Bytes that a session may send to hosts in all its time. Undefined: any number. */
  readonly uploadLimit: number | undefined
}

const DNS = 'BERTH_EGRESS_DNS'
const NETWORKS = 'BERTH_EGRESS_NETWORKS'
const CA_FILE = 'BERTH_EGRESS_CA_FILE'
const UPLOAD_LIMIT = 'BERTH_EGRESS_UPLOAD_LIMIT'
const DEFAULT_UPLOAD_LIMIT = '4GiB'

/** Throws `invalid_request` naming the variable. */
export function readEgressConfig(env: Readonly<Record<string, string | undefined>>): EgressConfig {
  const list = (name: string): string[] =>
    (env[name] ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
  const dnsServers = list(DNS)
  const wrong = dnsServers.find(
    (server) => isIP(server) === 0 && !/^(?:[\d.]+|\[[0-9a-fA-F:]+\]):\d{1,5}$/.test(server),
  )
  if (wrong !== undefined) throw new BerthError('invalid_request', `${DNS}: ${wrong} is no address`)
  const networks = list(NETWORKS)
  try {
    openedNetworks(networks)
  } catch (cause) {
    throw new BerthError('invalid_request', `${NETWORKS}: must be addresses, or networks such as 10.1.0.0/16`, {
      cause,
    })
  }
  return {
    dnsServers,
    openedNetworks: networks,
    authorities: readAuthorities(env[CA_FILE] ?? ''),
    uploadLimit: readUploadLimit(env[UPLOAD_LIMIT] || DEFAULT_UPLOAD_LIMIT),
  }
}

function readUploadLimit(text: string): number | undefined {
  if (text === 'none') return undefined
  const bytes = readByteSize(text)
  if (bytes === undefined)
    throw new BerthError('invalid_request', `${UPLOAD_LIMIT}: must be a size such as 500MB or 4GiB, or none`)
  return bytes
}

function readAuthorities(path: string): string | undefined {
  if (path === '') return undefined
  try {
    const text = readFileSync(path, 'utf8')
    // Reads the first alone, and throws where there is none.
    void new X509Certificate(text)
    return text
  } catch (cause) {
    throw new BerthError('invalid_request', `${CA_FILE}: the file must hold certificates in PEM`, { cause })
  }
}

interface Given {
  readonly audit: Audit
  readonly traffic: Traffic
  readonly vaults: Vaults
  readonly authority: CertificateAuthority
  readonly logger: Logger
  readonly now: () => Date
}

export function egressParts(config: EgressConfig, given: Given): EgressParts & { readonly trust: () => Trust } {
  const own = (): string[] =>
    Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address))
  let trust: Trust | undefined
  return {
    ...given,
    resolver: openResolver(config.dnsServers),
    trust: () => (trust ??= openTrust(config.authorities)),
    mayDial: addressRule({ opened: config.openedNetworks, own }),
  }
}
