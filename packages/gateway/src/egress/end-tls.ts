import type { Duplex } from 'node:stream'
import { type SecureContext, TLSSocket, type TLSSocketOptions } from 'node:tls'
import { UNREAD_BYTES } from './unread-bytes.ts'

export interface TlsEnd {
  /** With the certificate of the host for which the client takes us. */
  readonly context: SecureContext
  readonly signal: AbortSignal
}

/**
 * Answers the client's hello, of which `first` is what was read, for HTTP/1.1. Resolves with what is said inside; undefined, with the
 * connection closed, when the client does not agree.
 */
export function endTls(client: Duplex, first: Buffer, { context, signal }: TlsEnd): Promise<TLSSocket | undefined> {
  const { promise, resolve } = Promise.withResolvers<TLSSocket | undefined>()
  client.unshift(first)
  const options: TLSSocketOptions & { readonly highWaterMark: number } = {
    isServer: true,
    secureContext: context,
    ALPNProtocols: ['http/1.1'],
    highWaterMark: UNREAD_BYTES,
  }
  const inside = new TLSSocket(client, options)
  const settle = (agreed: boolean): void => {
    signal.removeEventListener('abort', fail)
    inside.off('secure', agree).off('close', fail)
    if (!agreed) inside.destroy()
    resolve(agreed ? inside : undefined)
  }
  const agree = (): void => settle(true)
  const fail = (): void => settle(false)
  // What goes wrong later is its end, too.
  inside.on('error', () => inside.destroy())
  inside.once('secure', agree).once('close', fail)
  signal.addEventListener('abort', fail, { once: true })
  if (signal.aborted) fail()
  return promise
}
