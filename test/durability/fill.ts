import { closeSync, openSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const PIECE = 1 << 20

/** Takes the room there is, but for about so many bytes. Answers the file. */
export function fill(dir: string, leave = 0): string {
  const path = join(dir, 'ballast')
  const file = openSync(path, 'w')
  const isRoomy = (): boolean => {
    const { bavail, bsize } = statfsSync(dir)
    return bavail * bsize > leave
  }
  try {
    for (let size = PIECE; size >= 512; size /= 2) writeWhile(file, { part: Buffer.alloc(size, 1), isRoomy })
  } finally {
    closeSync(file)
  }
  return path
}

function writeWhile(file: number, { part, isRoomy }: { part: Buffer; isRoomy: () => boolean }): void {
  try {
    while (isRoomy() && writeSync(file, part) === part.length);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  }
}
