import type { SessionConfig } from '@berth/protocol/link'
import { EgressForwarder, proxyEnvironment } from './egress-forwarder.ts'

/** A session's way out: a port that stays as long as the session is here, whatever CLIs come and go. */
export class WayOut implements AsyncDisposable {
  #forwarder: EgressForwarder | undefined

  /** The config with an environment that leads out. */
  async in(config: SessionConfig): Promise<SessionConfig> {
    const { egress } = config
    if (this.#forwarder !== undefined && this.#forwarder.socket !== egress?.socket) {
      await this.#forwarder[Symbol.asyncDispose]()
      this.#forwarder = undefined
    }
    if (egress === undefined) return config
    this.#forwarder ??= await EgressForwarder.open(egress.socket)
    return { ...config, env: { ...config.env, ...proxyEnvironment(this.#forwarder.port, egress.credential) } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#forwarder?.[Symbol.asyncDispose]()
  }
}
