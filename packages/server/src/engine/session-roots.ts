/** Where a session's files are in its sandbox, and which of them outlive it. */
import type { ArchiveLimits, ArchiveRoot } from '@berth/protocol/archive'
import { inside } from '@berth/sandbox'
import { waitsForClient } from '../domain/session.ts'
import type { SessionRow } from '../store/session-log.ts'
import { environmentOf, placesOf } from './session-config.ts'

const GIB = 1024 ** 3
/** Entries and depth that no workspace of a person or an agent comes near. */
const MAX_ENTRIES = 1_000_000
const MAX_DEPTH = 128
const MAX_SECONDS = 300

const outputs: ArchiveRoot = { name: 'outputs', path: inside.outputs, exclude: [] }

/** Everything that lasts in the sandbox but the transcript, which is shipped apart from it. */
export function allRoots(row: SessionRow, transcripts: readonly string[]): ArchiveRoot[] {
  const { cwd, home } = placesOf(row)
  return [
    { name: 'workspace', path: cwd, exclude: [] },
    { name: 'home', path: home, exclude: transcripts.map((path) => `.claude/${path}`) },
    outputs,
  ]
}

/** What a checkpoint of the session has: within a turn everything, whatever the lifecycle keeps when it is over. */
export function rootsToSave(row: SessionRow, transcripts: readonly string[]): ArchiveRoot[] {
  const keepsOutputs = environmentOf(row).berth.lifecycle.type === 'ephemeral'
  return keepsOutputs && !waitsForClient(row) ? [outputs] : allRoots(row, transcripts)
}

/** A sparse file counts in full, so that there may be more than the disk holds. */
export function archiveLimitsOf(row: SessionRow): ArchiveLimits {
  const disk = environmentOf(row).berth.resources.disk_mib * 1024 * 1024
  return { bytes: Math.max(2 * disk, GIB), entries: MAX_ENTRIES, depth: MAX_DEPTH, seconds: MAX_SECONDS }
}
