/**
 * What server and archive helper say to each other over a channel: the files of a session, saved and restored.
 *
 * A tree is a sequence of *segments*, each the text of some entries, one JSON line per entry, in the order of the walk: roots as named,
 * each directory before what is in it, names in the order of their bytes. A file's bytes are *chunks* of `CHUNK_BYTES`, the last one shorter. Segments and
 * chunks are known by the sha-256 of their bytes, in hex. Where a segment ends depends on its lines alone, so that a tree of which little has changed
 * has mostly the same segments.
 *
 * Save: `save`, then binary messages with the hashes that the server has (32 bytes each, any number per message), then `known_end`. The helper answers with binary
 * messages (each one chunk that is not known), `segment` or, for one that is known, `known_segment`, all segments in order and each after its
 * chunks; at last `saved` or `failed`.
 * Restore: `restore`, then for each segment a `segment` and, as binary messages, the chunks of its entries in order (one that is named
 * twice comes twice), then `end`. The helper answers `restored` or `failed`. What was below the roots before is gone.
 * List, read and write are for single files of a session that is awake.
 */
import { z } from 'zod'

export const CHUNK_BYTES = 1024 * 1024
/** A segment ends behind this many entries at the latest, and at the first line whose sha-256 begins with a zero byte. */
export const MAX_SEGMENT_ENTRIES = 2_048
/** Largest text of a segment, bytes. One that would be larger ends before. */
export const MAX_SEGMENT_BYTES = 2 * 1024 * 1024

export const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/)

/**
 * A path below a root, without a leading slash; the root itself is the empty path. `b64` where the bytes are not UTF-8.
 * Neither part of a path is empty, `.` or `..`, and none has a NUL.
 */
const bytesText = z.union([z.string(), z.object({ b64: z.base64() })])

const common = {
  /** Name of the root. */
  r: z.string(),
  p: bytesText,
  /** Permission bits, without setuid, setgid and sticky. */
  m: z.int().min(0).max(0o777),
  /**
   * Time of last modification, nanoseconds since 1970, as decimal digits: of what Node can set, the nearest to the file's own. That is at most
   * 120 ns off.
   */
  t: z.string().regex(/^-?\d{1,20}$/),
}

export const archiveEntry = z.discriminatedUnion('k', [
  z.strictObject({ k: z.literal('dir'), ...common }),
  z.strictObject({
    k: z.literal('file'),
    ...common,
    /** Bytes. */
    s: z.int().nonnegative(),
    /** Its chunks: a hash, or a number: so many chunks of zeros, which a sparse file has as holes. */
    c: z.array(z.union([sha256Hex, z.int().min(1)])),
    /** The file takes less room than its size: zeros are holes. */
    sparse: z.literal(true).optional(),
  }),
  z.strictObject({ k: z.literal('link'), ...common, to: bytesText }),
  /** Another name of a file that stands before it. */
  z.strictObject({ k: z.literal('hard'), ...common, of: z.object({ r: z.string(), p: bytesText }) }),
])
export type ArchiveEntry = z.infer<typeof archiveEntry>

export const archiveLimits = z.object({
  /** Of all files together, holes included. */
  bytes: z.int().min(1),
  entries: z.int().min(1),
  /** Directories below a root. */
  depth: z.int().min(1),
  seconds: z.int().min(1),
})
export type ArchiveLimits = z.infer<typeof archiveLimits>

export const archiveRoot = z.object({
  name: z.string(),
  /** Absolute directory in the sandbox. Made when it is missing; one that is no directory fails the job (`io`). */
  path: z.string(),
  /** Paths below it that are neither saved, nor removed by a restore, with all that is in them. */
  exclude: z.array(z.string()),
})
export type ArchiveRoot = z.infer<typeof archiveRoot>

/** Server → helper. */
export const archiveRequest = z.discriminatedUnion('type', [
  z.object({ type: z.literal('save'), roots: z.array(archiveRoot), limits: archiveLimits }),
  z.object({ type: z.literal('known_end') }),
  z.object({ type: z.literal('restore'), roots: z.array(archiveRoot), limits: archiveLimits }),
  z.object({ type: z.literal('segment'), text: z.string() }),
  z.object({ type: z.literal('end') }),
  /** One directory, or what stands at the path. Links are not followed at the path's end. */
  z.object({ type: z.literal('list'), path: z.string(), limit: z.int().min(1) }),
  /** The helper answers `file`, then its bytes from `start` as binary messages, then `done`. */
  z.object({
    type: z.literal('read'),
    path: z.string(),
    start: z.int().nonnegative(),
    length: z.int().min(0).nullable(),
  }),
  /** Followed by the bytes as binary messages, then `end`. The file is replaced when all have come, not before; missing directories are made. */
  z.object({ type: z.literal('write'), path: z.string(), mode: z.int().min(0).max(0o777) }),
])
export type ArchiveRequest = z.infer<typeof archiveRequest>

const counts = { entries: z.int().nonnegative(), bytes: z.int().nonnegative() }

const node = z.object({
  name: bytesText,
  kind: z.enum(['dir', 'file', 'link', 'other']),
  mode: z.int(),
  size: z.int().nonnegative(),
  /** Milliseconds since 1970. */
  modified: z.number(),
  to: bytesText.optional(),
})
export type ArchiveNode = z.infer<typeof node>

/** Helper → server. Comes from under the session's uid: nothing in it is to be believed. */
export const archiveReply = z.discriminatedUnion('type', [
  z.object({ type: z.literal('segment'), text: z.string() }),
  z.object({ type: z.literal('known_segment'), hash: sha256Hex }),
  z.object({
    type: z.literal('saved'),
    ...counts,
    /** What was left out or altered because it cannot be kept: devices, sockets, pipes, setuid bits. The first hundred, and how many there are. */
    refused: z.array(z.object({ r: z.string(), p: bytesText, why: z.string() })).max(100),
    refused_count: z.int().nonnegative(),
  }),
  z.object({ type: z.literal('restored'), ...counts }),
  z.object({ type: z.literal('nodes'), nodes: z.array(node), is_truncated: z.boolean() }),
  z.object({ type: z.literal('file'), node }),
  z.object({ type: z.literal('done') }),
  z.object({
    type: z.literal('failed'),
    /** `limit`: one of the limits; `not_found`, `not_file`, `denied`, `full`: the path or disk named; `bad_archive`: what came makes no sense. */
    code: z.enum(['limit', 'not_found', 'not_file', 'denied', 'full', 'bad_archive', 'io']),
    message: z.string().max(4_096),
  }),
])
export type ArchiveReply = z.infer<typeof archiveReply>
