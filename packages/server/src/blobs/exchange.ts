/** Talking to a helper that may hang, end or break in at any time. */
import { BerthError, type ErrorCode } from '@berth/protocol'
import type { ArchiveReply, ArchiveRequest } from '@berth/protocol/archive'
import type { ArchiveChannel } from './archive-channel.ts'
import { badArchive } from './bad-archive.ts'

type Reply = ArchiveReply | Uint8Array
type FailureCode = Extract<ArchiveReply, { type: 'failed' }>['code']

export class Exchange implements Disposable {
  readonly #channel: ArchiveChannel
  readonly #signal: AbortSignal
  readonly #onAbort = (): void => this.#interrupt(this.#abortError())
  /** A reply that is being waited for beside what is sent. */
  #pending: Promise<Reply> | undefined
  #interrupt: (error: unknown) => void = () => undefined

  constructor(channel: ArchiveChannel, signal: AbortSignal) {
    this.#channel = channel
    this.#signal = signal
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Sends until all is sent or a reply comes; false then, and `receive` has it. */
  async sendAll(messages: AsyncIterable<ArchiveRequest | Uint8Array>): Promise<boolean> {
    const early: { reply?: true } = {}
    const interrupted = new Error('a reply came')
    const heard = (): void => {
      early.reply = true
      this.#interrupt(interrupted)
    }
    this.#pending ??= this.#read()
    this.#pending.then(heard, heard)
    for await (const message of messages) {
      if (early.reply) return false
      try {
        await this.#send(message)
      } catch (error) {
        if (error !== interrupted) throw error
        return false
      }
    }
    return true
  }

  /** The next reply. `failed` and the channel's end are thrown, as is `timeout` when the signal aborts. */
  async receive(): Promise<Exclude<Reply, { type: 'failed' }>> {
    const pending = this.#pending ?? this.#read()
    this.#pending = undefined
    const reply = await pending
    if (reply instanceof Uint8Array || reply.type !== 'failed') return reply
    throw explain(reply)
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#pending?.catch(() => undefined)
  }

  async #send(message: ArchiveRequest | Uint8Array): Promise<void> {
    if (this.#signal.aborted) throw this.#abortError()
    const turn = Promise.withResolvers<void>()
    this.#interrupt = turn.reject
    this.#channel.send(message).then(turn.resolve, turn.reject)
    await turn.promise
  }

  async #read(): Promise<Reply> {
    if (this.#signal.aborted) throw this.#abortError()
    const aborted = Promise.withResolvers<never>()
    const abort = (): void => aborted.reject(this.#abortError())
    this.#signal.addEventListener('abort', abort, { once: true })
    try {
      const reply = await Promise.race([this.#channel.read(this.#signal), aborted.promise])
      if (reply !== undefined) return reply
    } catch (error) {
      throw this.#signal.aborted ? this.#abortError() : error
    } finally {
      this.#signal.removeEventListener('abort', abort)
    }
    throw new BerthError('unavailable', 'the channel to the sandbox closed before all files had passed')
  }

  #abortError(): unknown {
    const { reason }: { reason: unknown } = this.#signal
    const isTimeout = reason instanceof Error && reason.name === 'TimeoutError'
    if (!isTimeout) return reason
    return new BerthError('timeout', 'the sandbox took too long with its files', { cause: reason })
  }
}

const codes: Record<FailureCode, ErrorCode> = {
  limit: 'too_large',
  not_found: 'not_found',
  not_file: 'invalid_request',
  denied: 'invalid_request',
  full: 'unavailable',
  bad_archive: 'internal',
  io: 'internal',
}

function explain({ code, message }: { code: FailureCode; message: string }): BerthError {
  return new BerthError(codes[code], `in the sandbox: ${message}`, { details: { error_code: `archive_${code}` } })
}

/** What a helper says that has no place there. */
export function outOfPlace(reply: Reply): BerthError {
  return badArchive(`${reply instanceof Uint8Array ? 'a chunk' : reply.type} came where it has no place`)
}
