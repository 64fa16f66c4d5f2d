import type { ChannelJob } from '@berth/protocol/channel'
import { channelClose } from '@berth/protocol/channel-constants'
import { once } from 'node:events'
import { ArchiverProcess } from './archiver-process.ts'
import { FRAME_BINARY, FRAME_JSON } from './archiver/frames.ts'
import { ChannelFailure } from './channel-socket.ts'
import type { ChannelSocket } from './channel-socket.ts'
import { FrameSplitter, frameHead } from './frame-splitter.ts'
import { freeze } from './freeze.ts'
import { makeOwnDirs } from './own-dirs.ts'

/** Bytes that wait for the helper to take them; then nothing more is read from the server. Less would make a stop of every few small files. */
const MAX_UNTAKEN_BYTES = 1024 * 1024

export type ArchiveJob = ChannelJob & { type: 'archive' }

/** Runs archive helpers, and keeps what they know of each session's files. */
export class ArchiveJobs {
  readonly #program: string
  readonly #sameUid: boolean
  readonly #caches = new Map<string, Buffer>()
  readonly #helpers = new Set<number>()
  /** uids whose processes stand still for a job. */
  readonly #frozen = new Set<number>()

  /** `sameUid`: helpers run under the runner's uid, and nothing is frozen, because that would be the runner, too. */
  constructor(program: string, sameUid: boolean) {
    this.#program = program
    this.#sameUid = sameUid
  }

  isHelper(pid: number): boolean {
    return this.#helpers.has(pid)
  }

  isFrozen(uid: number): boolean {
    return this.#frozen.has(uid)
  }

  /** The session is no more. */
  forget(sessionId: string): void {
    this.#caches.delete(sessionId)
  }

  /** Does one job. Throws a `ChannelFailure` when it could not be done. However it ends, the helper has ended and the session's processes go on. */
  async run(job: ArchiveJob, channel: ChannelSocket): Promise<void> {
    if (!this.#sameUid) makeOwnDirs(job.own_dirs, job.uid)
    const isFreezing = job.freeze && !this.#sameUid
    if (isFreezing && this.#frozen.has(job.uid))
      throw new ChannelFailure(channelClose.busy, 'the session is frozen for another job')
    if (isFreezing) this.#frozen.add(job.uid)
    try {
      await this.#run(job, isFreezing, channel)
    } catch (error) {
      throw new ChannelFailure(channelClose.job_failed, error instanceof Error ? error.message : String(error))
    } finally {
      if (isFreezing) this.#frozen.delete(job.uid)
    }
  }

  async #run(job: ArchiveJob, isFreezing: boolean, channel: ChannelSocket): Promise<void> {
    const cache = this.#caches.get(job.session_id) ?? Buffer.alloc(0)
    const uid = this.#sameUid ? undefined : job.uid
    await using helper = new ArchiverProcess({ program: this.#program, uid, cache })
    const cut = (): void => helper.kill()
    channel.gone.addEventListener('abort', cut, { once: true })
    try {
      using _frozen = isFreezing ? await freeze(job.uid, helper.pid, channel.gone) : undefined
      const [{ cache: next }] = await Promise.all([helper.ended, converse(helper, channel)])
      if (next.length > 0) this.#caches.set(job.session_id, next)
    } finally {
      if (helper.pid !== undefined) this.#helpers.delete(helper.pid)
      channel.gone.removeEventListener('abort', cut)
    }
  }
}

/** Carries messages both ways until the helper has said all. */
async function converse({ stdin, stdout }: ArchiverProcess, channel: ChannelSocket): Promise<void> {
  const splitter = new FrameSplitter((kind, body) => channel.send(body, kind === FRAME_BINARY))
  channel.throttle(stdout)
  stdout.on('data', (part: Buffer) => {
    try {
      splitter.add(part)
    } catch (error) {
      stdout.destroy(error instanceof Error ? error : undefined)
    }
  })
  channel.receive(stdin, (body, isBinary) => {
    stdin.write(frameHead(body.length, isBinary ? FRAME_BINARY : FRAME_JSON))
    stdin.write(body)
    return stdin.writableLength < MAX_UNTAKEN_BYTES
  })
  await once(stdout, 'close')
}
