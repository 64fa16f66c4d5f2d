import { CHUNK_BYTES } from '@berth/protocol/archive'
import type { ArchiveNode, ArchiveRequest } from '@berth/protocol/archive'
import { randomUUID } from 'node:crypto'
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
} from 'node:fs'
import type { Stats } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { native, toWire } from './byte-path.ts'
import type { BytePath } from './byte-path.ts'
import { ArchiveFailure, errno, failureOf } from './failure.ts'
import { writeAll } from './frames.ts'
import type { FrameOutput } from './frames.ts'
import { namesIn } from './names-here.ts'

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants
/** Where paths without a leading slash begin. */
const WORKSPACE = '/workspace'
/** A list that would be a larger message is cut, bytes. */
const MAX_LIST_BYTES = 2 * 1024 * 1024

type Request<Type extends ArchiveRequest['type']> = ArchiveRequest & { type: Type }

export function list({ path, limit }: Request<'list'>, output: FrameOutput): void {
  const at = absolute(path)
  attempt(at, () => {
    const stats = lstatSync(at)
    if (!stats.isDirectory()) {
      const node = nodeOf(Buffer.from(at).toString('latin1'), Buffer.from(basename(at)).toString('latin1'), stats)
      return output.json({ type: 'nodes', nodes: [node], is_truncated: false })
    }
    const names = namesIn(at, limit)
    const nodes: ArchiveNode[] = []
    let bytes = 0
    for (const name of names.slice(0, limit).toSorted()) {
      const node = childOf(at, name)
      if (node === undefined) continue
      bytes += JSON.stringify(node).length * 3
      if (bytes > MAX_LIST_BYTES * 1.9) return output.json({ type: 'nodes', nodes, is_truncated: true })
      nodes.push(node)
    }
    output.json({ type: 'nodes', nodes, is_truncated: names.length > limit })
  })
}

export function read({ path, start, length }: Request<'read'>, output: FrameOutput): void {
  const at = absolute(path)
  attempt(at, () => {
    const fd = openSync(at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      const stats = fstatSync(fd)
      if (!stats.isFile()) throw new ArchiveFailure('not_file', `${at} is not a file`)
      const name = Buffer.from(basename(at)).toString('latin1')
      output.json({ type: 'file', node: nodeOf(Buffer.from(at).toString('latin1'), name, stats) })
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
      const end = Math.min(stats.size, start + (length ?? Infinity))
      for (let position = start; position < end;) {
        const bytes = readSync(fd, buffer, 0, Math.min(buffer.length, end - position), position)
        if (bytes === 0) break
        output.binary(buffer.subarray(0, bytes))
        position += bytes
      }
      output.json({ type: 'done' })
    } finally {
      closeSync(fd)
    }
  })
}

/** `next` waits for more bytes and answers undefined at the end. */
export function write({ path, mode }: Request<'write'>, next: () => Buffer | undefined, output: FrameOutput): void {
  const at = absolute(path)
  attempt(at, () => {
    const directory = dirname(at)
    makeDirectory(directory, at)
    if (lstatSync(at, { throwIfNoEntry: false })?.isDirectory() === true || path.endsWith('/'))
      throw new ArchiveFailure('not_file', `${at} is a directory`)
    const draft = join(directory, `.${randomUUID()}.part`)
    const fd = openSync(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      try {
        for (let bytes = next(); bytes !== undefined; bytes = next()) writeAll(fd, bytes)
        fchmodSync(fd, mode)
      } finally {
        closeSync(fd)
      }
      renameSync(draft, at)
    } catch (error) {
      rmSync(draft, { force: true })
      throw error
    }
  })
  output.json({ type: 'done' })
}

function makeDirectory(directory: string, path: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 })
  } catch (error) {
    if (errno(error) !== 'EEXIST') throw error
    throw new ArchiveFailure('not_found', `${path}: ${directory} is not a directory`)
  }
}

function absolute(path: string): string {
  if (path.includes('\0')) throw new ArchiveFailure('not_found', 'a path with a NUL')
  return resolve(WORKSPACE, path)
}

function attempt(path: string, task: () => void): void {
  try {
    task()
  } catch (error) {
    throw failureOf(error, path)
  }
}

/** Undefined for what has gone meanwhile. */
function childOf(directory: string, name: BytePath): ArchiveNode | undefined {
  const path = `${Buffer.from(directory).toString('latin1')}/${name}`
  try {
    return nodeOf(path, name, lstatSync(native(path)))
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined
    throw error
  }
}

function nodeOf(path: BytePath, name: BytePath, stats: Stats): ArchiveNode {
  const node = { name: toWire(name), mode: stats.mode & 0o7777, size: stats.size, modified: stats.mtimeMs }
  if (stats.isDirectory()) return { ...node, kind: 'dir' }
  if (stats.isFile()) return { ...node, kind: 'file' }
  if (!stats.isSymbolicLink()) return { ...node, kind: 'other' }
  return { ...node, kind: 'link', to: toWire(readlinkSync(native(path), 'latin1')) }
}
