import { once } from 'node:events'
import {
  connect,
  type ConnectionOptions,
  createSecureContext,
  DEFAULT_MIN_VERSION,
  getCACertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import type { Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'
import { UNREAD_BYTES } from './unread-bytes.ts'
import { metered } from './metered.ts'
import { type Dialling, dialUnmetered } from './way-out.ts'

/** By which authorities the certificates of hosts are judged. */
export type Trust = SecureContext

/** Those of the machine, or of Node where it has none, and the operator's own (PEM). Takes some 50 ms: made once. */
export function openTrust(further: string | undefined): Trust {
  const system = getCACertificates('system')
  const known = system.length > 0 ? system : getCACertificates('bundled')
  return createSecureContext({
    ca: [...new Set(known), ...(further === undefined ? [] : [further])],
    minVersion: DEFAULT_MIN_VERSION,
  })
}

export interface TlsDial extends Dialling {
  readonly trust: Trust
}

const HANDSHAKE_MS = 10_000

/**
 * TLS for HTTP/1.1 to the first of these addresses that answers. Resolves when the host has shown a certificate for its name of an
 * authority that is trusted; nothing is sent before. Throws a 502: `certificate` for another certificate, else `unreachable`.
 */
export async function dialTls(
  target: Target,
  addresses: readonly string[],
  { trust, signal, meter }: TlsDial,
): Promise<TLSSocket> {
  const socket = await dialUnmetered(target, addresses, signal)
  const options: ConnectionOptions & { readonly highWaterMark: number } = {
    socket,
    servername: target.host,
    secureContext: trust,
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
    highWaterMark: UNREAD_BYTES,
  }
  const secure = connect(options)
  // Whoever uses it hears of its end by its close.
  secure.on('error', () => undefined)
  try {
    await once(secure, 'secureConnect', { signal: AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_MS)]) })
    // What is said inside: the frame of it is TLS’s.
    return meter === undefined ? secure : metered(secure, meter)
  } catch {
    secure.destroy()
    socket.destroy()
    throw fault(target, secure)
  }
}

function fault({ host, port }: Target, { authorizationError }: TLSSocket): EgressRefusal {
  // Typed as an error, it is the code of one; null as long as nothing was wrong with the certificate.
  const code: unknown = authorizationError
  if (typeof code === 'string')
    return new EgressRefusal(502, 'certificate', `${host}:${port}: its certificate is refused (${code})`)
  return new EgressRefusal(502, 'unreachable', `${host}:${port} does not answer with TLS`)
}
