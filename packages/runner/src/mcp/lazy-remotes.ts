import type { SessionConfig } from '@berth/protocol/link'
import type { SeenTools } from '@berth/protocol/seen-tools'
import type { SessionLink } from '../session-link.ts'
import type { RemoteServers } from './remote-servers.ts'

/** A session's remote servers, if it has any: most have none, and what speaks with them takes long to load. */
export class LazyRemotes implements AsyncDisposable {
  readonly #report: SessionLink['report']
  #remotes: RemoteServers | undefined
  #seen: readonly SeenTools[] = []
  /** Aborted when the turn that begins need not wait for them. */
  #hurry = new AbortController()

  constructor(report: SessionLink['report']) {
    this.#report = report
  }

  /** What the server knows of their tools, should the next config have a server that the one before did not. */
  recall(seen: readonly SeenTools[]): void {
    this.#seen = seen
  }

  /** Takes the servers of a config. undefined: there never were any. */
  async of(config: SessionConfig): Promise<RemoteServers | undefined> {
    if (this.#remotes === undefined) {
      if (!config.mcp_servers.some(({ type }) => type === 'remote')) return undefined
      const { RemoteServers } = await import('./remote-servers.ts')
      this.#remotes = new RemoteServers(this.#report)
    }
    this.#remotes.configure(config, this.#seen)
    return this.#remotes
  }

  /** Called when a turn is to begin. Answers what waits for its servers, until `hurry`. */
  turn(): () => Promise<void> {
    this.#hurry = new AbortController()
    const { signal } = this.#hurry
    return async () => this.#remotes?.ready(signal)
  }

  hurry(): void {
    this.#hurry.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#remotes?.[Symbol.asyncDispose]()
  }
}
