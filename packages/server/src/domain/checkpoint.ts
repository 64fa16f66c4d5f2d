/** A checkpoint: a session's files as they were, with a place in its log and in its transcript. */
import { archiveRoot, sha256Hex, type ArchiveRoot } from '@berth/protocol/archive'
import { z } from 'zod'

/** `turn_over` and `park`: the session came to rest. `request`: somebody asked. `fork`: a session began with another's files. */
export type CheckpointCause = 'turn_over' | 'park' | 'request' | 'fork'

/** A checkpoint's list of segments and where its roots were: what is needed to read its files. */
export interface ArchivedTree {
  readonly workspaceId: string
  readonly roots: readonly ArchiveRoot[]
  readonly segments: readonly string[]
}

/** What a save has made durable, for a checkpoint to take. */
export interface SavedTree {
  readonly saveId: string
  readonly segments: readonly string[]
  readonly entries: number
  /** Of all files, holes included. */
  readonly bytes: number
  /** What this save has written. */
  readonly storedBytes: number
  /** How many packs those are. */
  readonly packs: number
  /** Packs of earlier saves whose bytes were not written again. */
  readonly reliesOn: readonly string[]
  /** What the helper says it has left out or altered; nobody's word but the sandbox's. The first of them, and how many there are. */
  readonly refused: readonly RefusedFile[]
  readonly refusedCount: number
}

const refusedFile = z.object({
  r: z.string(),
  p: z.union([z.string(), z.object({ b64: z.string() })]),
  why: z.string(),
})
/** By the name of its root and its path below that. */
export type RefusedFile = Readonly<z.infer<typeof refusedFile>>

const MAX_REFUSED = 20
const MAX_REFUSED_PATH = 1_024
const MAX_REASON = 300

/** As many of them as a checkpoint names. */
export function toNamedRefusals(all: readonly RefusedFile[]): RefusedFile[] {
  return all
    .filter(({ p }) => (typeof p === 'string' ? p : p.b64).length <= MAX_REFUSED_PATH)
    .slice(0, MAX_REFUSED)
    .map((one) => ({ ...one, why: one.why.slice(0, MAX_REASON) }))
}

/** Those of a stored checkpoint, by their paths in the sandbox. */
export function toRefused(row: { roots: string; refused: string }): { path: string; reason: string }[] {
  const paths = new Map(roots.parse(JSON.parse(row.roots)).map(({ name, path }) => [name, path]))
  const named = z.array(refusedFile).parse(JSON.parse(row.refused))
  return named.flatMap(({ r, p, why }) => {
    const root = paths.get(r)
    const below = typeof p === 'string' ? p : Buffer.from(p.b64, 'base64').toString('utf8')
    return root === undefined ? [] : [{ path: `${root}/${below}`.toWellFormed(), reason: why.toWellFormed() }]
  })
}

/** Where the bytes of a hash are: in this frame of this pack, and there from `start` on when it is decompressed. Bytes all. */
export interface ChunkPlace {
  readonly hash: string
  readonly pack: string
  readonly frameStart: number
  readonly frameLength: number
  readonly start: number
  readonly length: number
}

const roots = z.array(archiveRoot)
const segments = z.array(sha256Hex)
const transcripts = z.record(z.string(), z.int().nonnegative())

/** The tree of a stored checkpoint. */
export function toTree(row: { workspace_id: string; roots: string; segments: string }): ArchivedTree {
  return {
    workspaceId: row.workspace_id,
    roots: roots.parse(JSON.parse(row.roots)),
    segments: toSegments(row),
  }
}

export function toSegments(row: { segments: string }): string[] {
  return segments.parse(JSON.parse(row.segments))
}

/** Bytes per transcript file, as they had been shipped. */
export function toTranscriptSizes(row: { transcripts: string }): Record<string, number> {
  return transcripts.parse(JSON.parse(row.transcripts))
}
