import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'
import type { ProcessIdentity } from './process-identity.ts'

/** Longest path of a unix socket, without the closing zero (sun_path of Linux). */
export const SOCKET_PATH_MAX = 107
const ID_MAX = 32

/**
 * Where each shim mounts its sandbox's root file system, in a mount namespace of its own; on the host it is an empty directory. The
 * runtime goes there as the sandbox's own root, to whom the state directory is closed.
 */
export const ROOT_MOUNT_POINT = '/run/berth/root'

/** Where things are in a state directory. Names of ours begin with a dot, which no sandbox's id can. */
export interface Layout {
  readonly stateDir: string
  readonly slots: string
  readonly skeletons: string
  readonly empty: string
  /** The runtime's own state. */
  readonly runtime: string
  sandbox(id: string): string
  /** A name for a directory that this process is making or removing. `parseDraft` reads it. */
  draft(kind: DraftKind, id: string, maker: ProcessIdentity): string
}

export type DraftKind = 'new' | 'dead'

/** Whose draft a name of the state directory is; undefined for any other name. */
export function parseDraft(name: string): { id: string; pid: number; start: string } | undefined {
  const match = /^\.(?:new|dead)\.([a-z0-9_]+)\.(\d+)\.(\d+)\.\d+$/.exec(name)
  const [, id, pid, start] = match ?? []
  return id === undefined || pid === undefined || start === undefined ? undefined : { id, pid: Number(pid), start }
}

export function layout(stateDir: string): Layout {
  return {
    stateDir,
    slots: join(stateDir, '.slots'),
    skeletons: join(stateDir, '.skeletons'),
    empty: join(stateDir, '.empty'),
    runtime: join(stateDir, '.runtime'),
    sandbox: (id) => join(stateDir, id),
    draft: (kind, id, maker) => join(stateDir, `.${kind}.${id}.${maker.pid}.${maker.start}.${randomInt(2 ** 47)}`),
  }
}

/** Throws `invalid_request` when a socket of a sandbox could not be named under this state directory. */
export function assertSocketsFit(stateDir: string): void {
  const longest = longestSocketPath(stateDir)
  if (longest <= SOCKET_PATH_MAX) return
  throw new BerthError(
    'invalid_request',
    `the state directory ${stateDir} is ${longest - SOCKET_PATH_MAX} characters too long: paths of unix sockets below it would exceed ${SOCKET_PATH_MAX}`,
  )
}

/** `<stateDir>/<sandbox>/run/gw/<uid>/model.sock` in bytes, with ids as long as they may be, and the suffix of a draft. */
export function longestSocketPath(stateDir: string): number {
  const id = 'x'.repeat(ID_MAX)
  return Buffer.byteLength(join(stateDir, id, 'run/gw/65535/model.sock.new'))
}
