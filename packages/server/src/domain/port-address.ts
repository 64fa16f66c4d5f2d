/** Every port of every session is an origin of its own: `http://<port>--<session>.<domain>`, the session's id as a host name can hold it. */

export interface PortTarget {
  readonly sessionId: string
  readonly port: number
}

/** A label of a host name, at most 63 characters: one port, one session, one way to write it. */
const LABEL = /^(?<port>[1-9]\d{0,4})--sesn-(?<digits>[0-9a-hjkmnp-tv-z]{26})$/
const HOST = /^(?<name>[a-z0-9.-]{1,253})(?::(?<port>\d{1,5}))?$/
const MAX_PORT = 65_535

export class PortAddresses {
  /** Browsers reach it by TLS. */
  readonly isSecure: boolean
  readonly #suffix: string
  readonly #port: string

  /**
   * `domain`: a name, and a port where clients use another than 443. Below `localhost` browsers come straight to `listenPort`; any other domain
   * is served by a proxy that speaks TLS.
   */
  constructor(domain: string, listenPort: number) {
    const [name = '', port] = domain.toLowerCase().split(':')
    this.isSecure = !/(?:^|\.)localhost$/.test(name)
    this.#suffix = `.${name}`
    const shown = port ?? (this.isSecure ? '' : String(listenPort))
    this.#port = shown === '' ? '' : `:${shown}`
  }

  /** Of a `Host` header; undefined: it names no port of a session. */
  parse(host: string): PortTarget | undefined {
    const name = HOST.exec(host.toLowerCase())?.groups?.['name']
    if (name?.endsWith(this.#suffix) !== true) return undefined
    const { port, digits } = LABEL.exec(name.slice(0, -this.#suffix.length))?.groups ?? {}
    if (port === undefined || digits === undefined || Number(port) > MAX_PORT) return undefined
    return { sessionId: `sesn_${digits.toUpperCase()}`, port: Number(port) }
  }

  originOf({ sessionId, port }: PortTarget): string {
    const label = `${port}--${sessionId.toLowerCase().replace('_', '-')}`
    return this.origin(`${label}${this.#suffix}${this.#port}`)
  }

  /** The origin that a browser means by this `Host`. */
  origin(host: string): string {
    return `${this.isSecure ? 'https' : 'http'}://${host.toLowerCase()}`
  }
}
