import type { Command } from '@berth/protocol/link'
import type { CliLaunch } from './cli-process.ts'
import type { LinkClient, LinkReceiver } from './link-client.ts'
import { readServerMessage } from './link-messages.ts'
import { Session } from './session.ts'

/** All sessions of this sandbox. One begins with its first command. */
export class Sessions implements LinkReceiver, AsyncDisposable {
  readonly read = readServerMessage
  readonly #link: LinkClient
  readonly #launch: CliLaunch
  readonly #sessions = new Map<string, Session>()

  constructor(link: LinkClient, launch: CliLaunch) {
    this.#link = link
    this.#launch = launch
  }

  handle(sessionId: string, command: Command): void {
    this.#session(sessionId).handle(command)
  }

  /** Ends all CLIs and everything they left running. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((session) => session[Symbol.asyncDispose]()))
  }

  #session(id: string): Session {
    let session = this.#sessions.get(id)
    if (session === undefined) {
      const outbox = this.#link.outbox(id)
      session = new Session(
        {
          report: (body) => this.#link.report(id, body),
          delta: (message) => this.#link.delta(id, message),
          acknowledged: (seq, signal) => outbox.acknowledged(seq, signal),
          room: (signal) => outbox.room(signal),
        },
        this.#launch,
      )
      this.#sessions.set(id, session)
    }
    return session
  }
}
