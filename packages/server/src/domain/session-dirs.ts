/** Where a session's directories are in its sandbox. */
import type { OwnDirs } from '@berth/protocol/own-dirs'
import { inside } from '@berth/sandbox'

export interface SessionDirs {
  readonly home: string
  readonly cwd: string
  /** What it hands over: to the client, and to those who live in the same sandbox. */
  readonly outputs: string
  /** Those that have to be made for it: the others are there, and belong to the one session of the sandbox. */
  readonly own: OwnDirs
}

const CLOSED = 0o700
const READABLE = 0o755

/** `subdir` is empty for a session that has the whole of `/workspace` and of the outputs. */
export function dirsOf({
  name_inside,
  subdir,
}: {
  readonly name_inside: string
  readonly subdir: string
}): SessionDirs {
  const home = { path: `${inside.home}/${name_inside}`, mode: CLOSED }
  if (subdir === '') return { home: home.path, cwd: inside.workspace, outputs: inside.outputs, own: [home] }
  const cwd = { path: `${inside.workspace}/${subdir}`, mode: CLOSED }
  const outputs = { path: `${inside.outputs}/${subdir}`, mode: READABLE }
  return { home: home.path, cwd: cwd.path, outputs: outputs.path, own: [home, cwd, outputs] }
}
