import { STATUS_CODES } from 'node:http'
import type { EgressReason } from '@berth/protocol/gateway'

/** A request to leave that comes to nothing: what the sandbox is told. The text names what was asked for and the rule, never an address. */
export class EgressRefusal extends Error {
  readonly status: number
  readonly reason: EgressReason | 'unreachable'
  isOnRecord = false

  constructor(status: number, reason: EgressReason | 'unreachable', message: string) {
    super(message)
    this.status = status
    this.reason = reason
  }

  get headers(): Record<string, string> {
    return {
      'content-type': 'text/plain; charset=utf-8',
      'x-berth-egress': this.reason,
      connection: 'close',
      // A client that has the password gives it when it is asked.
      ...(this.status === 407 ? { 'proxy-authenticate': 'Basic realm="berth"' } : {}),
    }
  }

  get body(): string {
    return `berth egress: ${this.message}\n`
  }

  /** The whole answer, for a connection that has no parser any more. */
  get answer(): string {
    const headers = { ...this.headers, 'content-length': Buffer.byteLength(this.body) }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    return `HTTP/1.1 ${this.status} ${STATUS_CODES[this.status] ?? 'Refused'}\r\n${lines.join('')}\r\n${this.body}`
  }
}
