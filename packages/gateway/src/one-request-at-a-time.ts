import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * Connections on each of which one request is served at a time. A client that sends on before its answer has come could hold any number of
 * requests behind one connection: it is cut off.
 */
export class OneRequestAtATime {
  readonly #busy = new WeakSet<Duplex>()

  /** False, with the connection destroyed, when a request is under way on it. */
  admits(connection: Duplex): boolean {
    const isFree = !this.#busy.has(connection)
    if (!isFree) connection.destroy()
    return isFree
  }

  /** The same; if so, a request is under way until `response` has closed. */
  begins(connection: Duplex, response: ServerResponse): boolean {
    if (!this.admits(connection)) return false
    this.#busy.add(connection)
    response.on('close', () => this.#busy.delete(connection))
    return true
  }
}
