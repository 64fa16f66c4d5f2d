import type { ChannelJob, Dial } from '@berth/protocol/channel'
import { channelClose } from '@berth/protocol/channel-constants'
import type { WebSocket } from 'ws'
import { ArchiveJobs } from './archive-job.ts'
import { ChannelFailure, ChannelSocket } from './channel-socket.ts'
import { runPort } from './port-job.ts'
import { processesOf } from './uid-processes.ts'

/** So many at once. Each port's connection is one, each job with files a process. */
const MAX_CHANNELS = 64

export interface ChannelsOptions {
  /** Dials the server for a channel. */
  readonly dial: (id: string) => WebSocket
  readonly log: (line: string) => void
  /** Path of the archive helper's program. */
  readonly archiver: string
  /** True: helpers run under the runner's own uid. */
  readonly sameUid: boolean
  /** Ends and removes all that a session has in the sandbox. */
  readonly remove: (job: ChannelJob & { type: 'remove' }, signal: AbortSignal) => Promise<void>
  /** Of the session's CLI; undefined: none runs. */
  readonly cliPid: (sessionId: string) => number | undefined
}

/** The channels of this sandbox: each is dialled, does its job, and is closed with a code that says how that went. */
export class Channels implements AsyncDisposable {
  readonly #options: ChannelsOptions
  readonly #archives: ArchiveJobs
  readonly #open = new Set<Promise<void>>()
  readonly #stop = new AbortController()

  constructor(options: ChannelsOptions) {
    this.#options = options
    this.#archives = new ArchiveJobs(options.archiver, options.sameUid)
  }

  /** Whether a job has stopped the processes of this uid. */
  isFrozen(uid: number): boolean {
    return this.#archives.isFrozen(uid)
  }

  /** Does a job, whose end only the channel tells. */
  dial({ id, job }: Dial): void {
    const isOver = this.#open.size >= MAX_CHANNELS
    const task = this.#serve(id, isOver ? undefined : job).finally(() => this.#open.delete(task))
    this.#open.add(task)
  }

  /** Ends all jobs, and resolves when nothing of them is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#open)
  }

  async #serve(id: string, job: ChannelJob | undefined): Promise<void> {
    const { signal } = this.#stop
    const socket = this.#options.dial(id)
    const cut = (): void => socket.terminate()
    signal.addEventListener('abort', cut, { once: true })
    try {
      const channel = await ChannelSocket.open(socket)
      await this.#do(job, channel)
    } catch (error) {
      this.#options.log(`channel ${id}: ${error instanceof Error ? error.message : String(error)}`)
    } finally {
      signal.removeEventListener('abort', cut)
    }
  }

  async #do(job: ChannelJob | undefined, channel: ChannelSocket): Promise<void> {
    try {
      await this.#run(job, channel)
      channel.close(channelClose.done, '')
    } catch (error) {
      if (error instanceof ChannelFailure) channel.close(error.code, error.message)
      else channel.close(channelClose.job_failed, String(error))
    }
  }

  #count({ session_id, uid }: ChannelJob & { type: 'count_processes' }): number {
    const cli = this.#options.cliPid(session_id)
    return processesOf(uid).filter(({ pid }) => pid !== cli && !this.#archives.isHelper(pid)).length
  }

  async #run(job: ChannelJob | undefined, channel: ChannelSocket): Promise<void> {
    if (job === undefined) throw new ChannelFailure(channelClose.busy, `${MAX_CHANNELS} channels are open`)
    switch (job.type) {
      case 'archive':
        return await this.#archives.run(job, channel)
      case 'count_processes':
        return channel.send(Buffer.from(JSON.stringify({ count: this.#count(job) })), false)
      case 'remove':
        await this.#options.remove(job, channel.gone)
        return this.#archives.forget(job.session_id)
      case 'port':
        return await runPort(job.port, channel)
    }
  }
}
