import type { SessionWay } from '../injection/session-secrets.ts'
import { SocketFile } from '../socket-file.ts'
import { type EgressParts, EgressProxy } from './proxy.ts'

interface Opening {
  readonly sessionId: string
  readonly way: SessionWay
  /** Part of the name of a temporary file. */
  readonly fresh: string
}

/** The socket of one session's way out and the proxy behind it. */
export class EgressListener implements AsyncDisposable {
  readonly #proxy: EgressProxy
  readonly #file: SocketFile

  private constructor(proxy: EgressProxy, file: SocketFile) {
    this.#proxy = proxy
    this.#file = file
  }

  static async open(parts: EgressParts, { sessionId, way, fresh }: Opening): Promise<EgressListener> {
    const proxy = new EgressProxy(parts, sessionId, way)
    const place = { path: way.socket_path, ownerUid: way.owner_uid, fresh: `${fresh}e` }
    return new EgressListener(proxy, await SocketFile.listen(proxy.server, place))
  }

  isThere(): Promise<boolean> {
    return this.#file.isThere()
  }

  removeFile(): Promise<void> {
    return this.#file.remove()
  }

  change(way: SessionWay): void {
    this.#proxy.change(way)
  }

  /** Stops listening and waits for what is under way; when `signal` is aborted, cuts it. */
  async drain(signal: AbortSignal): Promise<void> {
    this.#proxy.server.close()
    await this.#proxy.drain(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.remove()
    await this.drain(AbortSignal.abort())
  }
}
