import { CHUNK_BYTES } from '@berth/protocol/archive'
import type { ArchiveEntry } from '@berth/protocol/archive'
import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, futimesSync, openSync, writeSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { native } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'
import { bad } from './entry-check.ts'
import { settable } from './file-time.ts'

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants
/** What a hole consists of. */
const BLOCK_BYTES = 4096
const zeros = Buffer.alloc(CHUNK_BYTES)

/** Makes a file of the directory in which the helper stands, with its chunks as `next` answers them. Answers what it has become. */
export function writeFile(name: BytePath, entry: ArchiveEntry & { k: 'file' }, next: () => Buffer): BigIntStats {
  const fd = openSync(native(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    const isSparse = entry.sparse === true
    let position = 0
    for (const piece of entry.c) {
      const left = entry.s - position
      if (typeof piece === 'number') {
        const end = position + Math.min(left, piece * CHUNK_BYTES)
        if (!isSparse) writeZeros(fd, position, end)
        position = end
        continue
      }
      const bytes = next()
      const expected = Math.min(left, CHUNK_BYTES)
      if (bytes.length !== expected) throw bad(`a chunk of ${bytes.length} bytes where ${expected} belong`)
      if (isSparse) writeBlocks(fd, bytes, position)
      else write(fd, bytes, position, bytes.length)
      position += bytes.length
    }
    if (isSparse) ftruncateSync(fd, entry.s)
    fchmodSync(fd, entry.m)
    const time = settable(BigInt(entry.t))
    futimesSync(fd, time, time)
    return fstatSync(fd, { bigint: true })
  } finally {
    closeSync(fd)
  }
}

function write(fd: number, bytes: Buffer, position: number, length: number): void {
  const end = Math.min(length, bytes.length)
  for (let done = 0; done < end;) done += writeSync(fd, bytes, done, end - done, position + done)
}

function writeZeros(fd: number, from: number, end: number): void {
  for (let at = from; at < end; at += CHUNK_BYTES) write(fd, zeros, at, end - at)
}

/** Leaves out blocks of zeros; what stands between them is written at once. */
function writeBlocks(fd: number, bytes: Buffer, position: number): void {
  let from = 0
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = bytes.subarray(at, at + BLOCK_BYTES)
    if (!block.equals(zeros.subarray(0, block.length))) continue
    write(fd, bytes.subarray(from, at), position + from, at - from)
    from = at + BLOCK_BYTES
  }
  if (from < bytes.length) write(fd, bytes.subarray(from), position + from, bytes.length - from)
}
