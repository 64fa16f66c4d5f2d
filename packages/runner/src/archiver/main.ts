import { archiveRequest } from '@berth/protocol/archive'
import type { ArchiveRequest } from '@berth/protocol/archive'
import { readFileSync, writeFileSync } from 'node:fs'
import { bad } from './entry-check.ts'
import { Abandoned, failureOf } from './failure.ts'
import { FrameInput, FrameOutput, writeAll } from './frames.ts'
import type { Frame } from './frames.ts'
import { Restore } from './restore.ts'
import { Save } from './save.ts'
import { SegmentWriter } from './segment-writer.ts'
import { list, read, write } from './single-files.ts'
import { WalkCache } from './walk-cache.ts'

/**
 * The archive helper: one request on standard input, its answer on standard output, in frames. Descriptor 3 gives the walk's cache of the last
 * time, descriptor 4 takes the one for the next. It runs under the session's uid, so what it reaches is what the session reaches.
 */
const CACHE_IN = 3
const CACHE_OUT = 4
const HASH_BYTES = 32
/** File systems note times in steps of at most this. */
const CLOCK_STEP_MS = 20

const input = new FrameInput(0)
const output = new FrameOutput(1)

function next(): Frame {
  const frame = input.next()
  if (frame === undefined) throw new Abandoned('the input ended')
  return frame
}

function nextRequest(frame: Frame = next()): ArchiveRequest {
  if (frame.kind === 'binary') throw bad('bytes where a message belongs')
  const request = archiveRequest.safeParse(parsed(frame.text))
  if (!request.success) throw bad(`a message that cannot be read: ${request.error.issues[0]?.message}`)
  return request.data
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw bad('a message that is no JSON')
  }
}

function save(request: ArchiveRequest & { type: 'save' }): void {
  const known = new Set<string>()
  for (let frame = next(); frame.kind === 'binary' || nextRequest(frame).type !== 'known_end'; frame = next()) {
    if (frame.kind === 'json') throw bad('a message among the known hashes')
    if (frame.bytes.length % HASH_BYTES !== 0) throw bad(`hashes of ${frame.bytes.length} bytes`)
    for (let at = 0; at < frame.bytes.length; at += HASH_BYTES)
      known.add(frame.bytes.toString('hex', at, at + HASH_BYTES))
  }
  const cache = new WalkCache(readFileSync(CACHE_IN))
  const saved = new Save(request, new SegmentWriter(output, known), cache).run(request.roots)
  writeAll(CACHE_OUT, cache.bytes())
  output.json(saved)
}

function restore(request: ArchiveRequest & { type: 'restore' }): void {
  const cache = new WalkCache(Buffer.alloc(0))
  using job = new Restore(request.limits, cache, () => {
    const frame = next()
    if (frame.kind === 'json') throw bad('a message where a chunk belongs')
    return frame.bytes
  })
  job.begin(request.roots)
  for (let message = nextRequest(); message.type !== 'end'; message = nextRequest()) {
    if (message.type !== 'segment') throw bad(`a ${message.type} among the segments`)
    job.segment(message.text)
  }
  const restored = job.end()
  // Whatever changes a file from here on changes its times.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, CLOCK_STEP_MS)
  writeAll(CACHE_OUT, cache.bytes())
  output.json(restored)
}

function nextBytes(): Buffer | undefined {
  const frame = next()
  if (frame.kind === 'binary') return frame.bytes
  const { type } = nextRequest(frame)
  if (type !== 'end') throw bad(`a ${type} among the bytes of a file`)
  return undefined
}

function answer(request: ArchiveRequest): void {
  switch (request.type) {
    case 'save':
      return save(request)
    case 'restore':
      return restore(request)
    case 'list':
      return list(request, output)
    case 'read':
      return read(request, output)
    case 'write':
      return write(request, nextBytes, output)
    case 'known_end':
    case 'segment':
    case 'end':
      throw bad(`a ${request.type} at the beginning`)
  }
}

/** When memory runs out, the helper is to end before the runner, with which the whole sandbox would. */
function giveWay(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000')
  } catch {
    // Nothing to be done about it.
  }
}

try {
  giveWay()
  process.umask(0)
  try {
    answer(nextRequest())
  } catch (error) {
    const { code, message } = failureOf(error, 'the job')
    output.json({ type: 'failed', code, message })
  }
  output.flush()
  process.exitCode = 0
} catch (error) {
  process.stderr.write(`${String(error)}\n`)
  process.exitCode = 1
}
