import { once } from 'node:events'
import { connect, createSecureContext, getCACertificates, type SecureContext, type TLSSocket } from 'node:tls'
import type { Target } from './policy.ts'
import { EgressRefusal } from './refusal.ts'
import { dial } from './way-out.ts'

const HANDSHAKE_MS = 10_000

/** Whom to believe: the authorities that this machine knows (where it knows none, those that Node does), and those of `more`, in PEM. */
export function openTrust(more: string): SecureContext {
  const known = getCACertificates('system')
  const ca = known.length > 0 ? known : getCACertificates('bundled')
  return createSecureContext({ ca: more === '' ? ca : [...ca, more], minVersion: 'TLSv1.2' })
}

interface Dialling {
  readonly signal: AbortSignal
  readonly ca: SecureContext
}

/**
 * Connects to the first of these addresses that answers, and speaks TLS there for HTTP/1.1, with the host's certificate checked. The
 * connection goes with the socket. Throws a 502.
 */
export async function dialTls(
  target: Target,
  addresses: readonly string[],
  { signal, ca }: Dialling,
): Promise<TLSSocket> {
  const socket = await dial(target, addresses, signal)
  const tls = connect({ socket, servername: target.host, secureContext: ca, ALPNProtocols: ['http/1.1'] })
  // Whoever uses it hears of its end by its close.
  tls.on('error', () => undefined)
  tls.once('close', () => socket.destroy())
  try {
    await once(tls, 'secureConnect', { signal: AbortSignal.any([signal, AbortSignal.timeout(HANDSHAKE_MS)]) })
    return tls
  } catch (cause) {
    tls.destroy()
    socket.destroy()
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
    throw new EgressRefusal(502, 'unreachable', `${target.host}:${target.port} has not been reached by TLS${code}`)
  }
}
