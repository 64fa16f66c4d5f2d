import { chmod, lchown, lstat, rename, rm, unlink } from 'node:fs/promises'
import type { Server } from 'node:net'
import { dirname, join } from 'node:path'
import { BerthError } from '@berth/protocol/error'

/** `sun_path` holds 108 bytes, the last of them zero. */
const MAX_SOCKET_PATH = 107

export interface SocketPlace {
  /** Absolute; its directory exists. */
  readonly path: string
  readonly ownerUid: number
  /** Part of a name that nothing else in the directory has. */
  readonly fresh: string
}

/** The file of a unix socket that a server listens on. Closing the server leaves it. */
export class SocketFile {
  readonly #path: string
  readonly #inode: number

  private constructor(path: string, inode: number) {
    this.#path = path
    this.#inode = inode
  }

  /**
   * Listens, replacing whatever socket stands there in one step: a client finds the old or the new one, never none. Leaves nothing when
   * it throws (`invalid_request`: the path cannot be listened on; `unavailable`: not by this user).
   */
  static async listen(server: Server, place: SocketPlace): Promise<SocketFile> {
    const { path, ownerUid, fresh } = place
    const temporary = join(dirname(path), `.${fresh}`)
    for (const each of [path, temporary]) checkSocketPath(each)
    try {
      await listen(server, temporary)
      await chmod(temporary, 0o600)
      await lchown(temporary, ownerUid, ownerUid)
      const { ino } = await lstat(temporary)
      await rename(temporary, path)
      return new SocketFile(path, ino)
    } catch (error) {
      server.close()
      await rm(temporary, { force: true })
      throw explain(error, place)
    }
  }

  /** False when it has been removed or replaced by somebody else. */
  async isThere(): Promise<boolean> {
    try {
      return (await lstat(this.#path)).ino === this.#inode
    } catch {
      return false
    }
  }

  async remove(): Promise<void> {
    if (await this.isThere()) await unlink(this.#path)
  }
}

function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path)
  if (!path.startsWith('/') || bytes > MAX_SOCKET_PATH || path.includes('\0')) {
    throw new BerthError(
      'invalid_request',
      `socket_path: must be absolute and at most ${MAX_SOCKET_PATH} bytes, is ${bytes}`,
    )
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function explain(error: unknown, { path, ownerUid }: SocketPlace): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EACCES':
      return new BerthError('invalid_request', `socket_path: cannot listen in ${dirname(path)} (${error.code})`, {
        cause: error,
      })
    case 'EPERM':
      return new BerthError('unavailable', `owner_uid: the gateway may not give the socket to uid ${ownerUid}`, {
        cause: error,
      })
    default:
      return error
  }
}
