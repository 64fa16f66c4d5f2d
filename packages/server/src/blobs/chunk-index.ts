/** What this folder asks of the store: operations of `store/chunks.ts` and `store/checkpoints.ts`, which say what they promise. */
import type { ChunkPlace } from '../domain/checkpoint.ts'

export interface ChunkIndex {
  findChunks(args: { workspaceId: string; hashes: readonly string[]; sound?: boolean }): Promise<ChunkPlace[]>
  distrustPack(args: { id: string }): Promise<void>
  hasDamagedPacks(args: { workspaceId: string }): Promise<boolean>
  addPack(args: {
    workspaceId: string
    saveId: string
    id: string
    bytes: number
    chunks: readonly Omit<ChunkPlace, 'pack'>[]
  }): Promise<void>
  removePack(args: { id: string; uncommitted: boolean }): Promise<boolean>
  findPacks(args: { ids: readonly string[] }): Promise<string[]>
  listPacks(args: { workspaceId: string }): Promise<PackRecord[]>
  listUncommittedPacks(args: { saveId: string | null }): Promise<PackRecord[]>
  listPackWorkspaces(args: Record<string, never>): Promise<string[]>
  findCheckpoint(args: { workspaceId: string; id: string }): Promise<TreeRecord | undefined>
  listCheckpointSegments(args: {
    workspaceId: string
    after: number
    limit: number
  }): Promise<{ ord: number; segments: string }[]>
}

export interface PackRecord {
  readonly id: string
  readonly workspaceId: string
}

/** A checkpoint as stored: JSON of its roots and segments. */
export interface TreeRecord {
  readonly workspace_id: string
  readonly roots: string
  readonly segments: string
}

/** Hashes per question: a reply of some hundred KB. */
export const HASHES_AT_ONCE = 1_000

export function packKey(pack: PackRecord): string {
  return `packs/${pack.workspaceId}/${pack.id}`
}
