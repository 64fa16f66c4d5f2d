import type { ChannelJob, Dial } from '@berth/protocol/channel'
import type { Command } from '@berth/protocol/link'
import { Channels } from './channels.ts'
import type { CliLaunch } from './cli-process.ts'
import type { LinkClient, LinkReceiver } from './link-client.ts'
import { readServerMessage } from './link-messages.ts'
import { Session } from './session.ts'
import { removeSession } from './session-removal.ts'
import { killAllOf } from './uid-sweep.ts'

export interface SessionsOptions {
  readonly link: LinkClient
  readonly launch: CliLaunch
  /** Path of the archive helper's program. */
  readonly archiver: string
  readonly log: (line: string) => void
}

/** All sessions of this sandbox. One begins with its first command. */
export class Sessions implements LinkReceiver, AsyncDisposable {
  readonly read = readServerMessage
  readonly #link: LinkClient
  readonly #launch: CliLaunch
  readonly #channels: Channels
  readonly #sessions = new Map<string, Session>()

  constructor({ link, launch, archiver, log }: SessionsOptions) {
    this.#link = link
    this.#launch = launch
    this.#channels = new Channels({
      dial: (id) => link.openChannel(id),
      log,
      archiver,
      sameUid: launch.sameUid,
      remove: (job, signal) => this.#remove(job, signal),
      cliPid: (id) => this.#sessions.get(id)?.cliPid,
    })
  }

  handle(sessionId: string, command: Command): void {
    this.#session(sessionId).handle(command)
  }

  dial(dial: Dial): void {
    this.#channels.dial(dial)
  }

  /** Ends all channels, all CLIs and everything they left running. */
  async [Symbol.asyncDispose](): Promise<void> {
    // What a job has frozen could not end politely.
    await this.#channels[Symbol.asyncDispose]()
    await Promise.all([...this.#sessions.values()].map((session) => session[Symbol.asyncDispose]()))
  }

  async #remove(job: ChannelJob & { type: 'remove' }, signal: AbortSignal): Promise<void> {
    const { session_id, uid, own_dirs } = job
    // First, so that nothing of it can keep its end waiting.
    if (!this.#launch.sameUid) await killAllOf(uid)
    await this.#sessions.get(session_id)?.[Symbol.asyncDispose]()
    this.#sessions.delete(session_id)
    if (!this.#launch.sameUid) await removeSession(uid, own_dirs, signal)
    this.#link.forget(session_id)
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
        (uid) => this.#channels.isFrozen(uid),
      )
      this.#sessions.set(id, session)
    }
    return session
  }
}
