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
