/** A real store, real blobs and sessions to make checkpoints of. */
import { listPrices } from '@berth/protocol/prices'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAgentBody } from '@berth/protocol/api/agent'
import { createEnvironmentBody } from '@berth/protocol/api/environment'
import { pino } from 'pino'
import { Archives } from '../src/blobs/archives.ts'
import type { BlobStore } from '../src/blobs/blob-store.ts'
import { openFileBlobs } from '../src/blobs/fs/file-blobs.ts'
import { newAgent } from '../src/domain/agent.ts'
import { newEnvironment } from '../src/domain/environment.ts'
import { systemClock } from '../src/domain/clock.ts'
import { createIds, newId } from '../src/domain/ids.ts'
import { openSqliteStore } from '../src/store/sqlite/open.ts'
import type { Store } from '../src/store/store.ts'
import { ChannelPair, limits, playRestore, playSave, root, type Tree } from './archive-peer.ts'

export const workspaceId = 'wrkspc_archives'

export interface ArchiveWorld extends AsyncDisposable {
  readonly dir: string
  readonly store: Store
  readonly blobs: BlobStore
  readonly archives: Archives
}

/** In a directory of its own, or in one that stays. */
export async function openArchiveWorld(given?: string): Promise<ArchiveWorld> {
  await using cleanup = new AsyncDisposableStack()
  const dir = given ?? (await mkdtemp(join(tmpdir(), 'berth-arch-')))
  if (given === undefined) cleanup.defer(() => rm(dir, { recursive: true }))
  const store = cleanup.use(await openSqliteStore(join(dir, 'berth.db')))
  const blobs = cleanup.use(await openFileBlobs(join(dir, 'blobs')))
  const archives = new Archives({ blobs, index: store, ids: createIds(systemClock), logger: pino({ level: 'silent' }) })
  const parts = cleanup.move()
  return { dir, store, blobs, archives, [Symbol.asyncDispose]: () => parts.disposeAsync() }
}

/** One with a session that has this tree in a checkpoint. */
export async function openWorldWith(
  tree: Tree,
): Promise<ArchiveWorld & { readonly session: string; readonly id: string }> {
  const world = await openArchiveWorld()
  const session = await newSession(world.store)
  const { id } = await checkpoint(world, session, tree)
  return { ...world, session, id }
}

/** Keys of all blobs, sorted. */
export async function blobKeys(blobs: BlobStore): Promise<string[]> {
  const keys: string[] = []
  for await (const key of blobs.list('')) keys.push(key)
  return keys.toSorted()
}

export const now = (): string => new Date().toISOString()

export async function newSession(store: Store, workspace: string = workspaceId): Promise<string> {
  await store.ensureWorkspace({ id: workspace, name: workspace, now: now() })
  const [agent, environment, id] = [newId('agent'), newId('env'), newId('sesn')]
  const agentBody = newAgent(createAgentBody.parse({ name: 'A', model: 'm' }))
  await store.createAgent({ workspaceId: workspace, id: agent, body: agentBody, now: now() })
  const body = newEnvironment(createEnvironmentBody.parse({ name: 'e' }))
  await store.createEnvironment({ workspaceId: workspace, id: environment, body, now: now() })
  const session = { agent, environment_id: environment }
  await store.createSession({
    id,
    threadId: newId('sthr'),
    workspaceId: workspace,
    body: session,
    prices: listPrices,
    now: now(),
  })
  return id
}

export interface SaveOptions {
  readonly base?: string | null
  readonly keep?: number
  readonly workspace?: string
  readonly isRepair?: boolean
}

/** Saves the tree and commits it. */
export async function checkpoint(
  { archives, store }: Pick<ArchiveWorld, 'archives' | 'store'>,
  sessionId: string,
  tree: Tree,
  { base = null, keep = 50, workspace = workspaceId, isRepair = false }: SaveOptions = {},
): Promise<{ id: string; sentBytes: number; storedBytes: number; removed: number; baseFault: unknown }> {
  const pair = new ChannelPair()
  const place = await store.getCheckpointPlace({ sessionId })
  const args = { workspaceId: workspace, base, isRepair, roots: [root], limits, signal: AbortSignal.timeout(60_000) }
  const played = playSave(pair, tree)
  played.catch(() => undefined)
  try {
    await using saved = await archives.saveArchive(pair.server, args)
    await played
    const id = newId('chkp')
    const why = { why: 'turn_over' as const, keep, now: now(), epoch: 0 }
    const rest = { id, workspaceId: workspace, sessionId, place, roots: [root], archive: saved.archive }
    const { removed } = await store.commitCheckpoint({ ...rest, ...why })
    const { storedBytes } = saved.archive
    return { id, sentBytes: pair.sentBytes, storedBytes, removed, baseFault: saved.baseFault }
  } finally {
    pair.close()
  }
}

/** The tree as a helper gets it. */
export async function restored(archives: Archives, id: string, workspace: string = workspaceId): Promise<Tree> {
  const pair = new ChannelPair()
  const args = { workspaceId: workspace, checkpoint: id, roots: [root], limits, signal: AbortSignal.timeout(60_000) }
  const played = playRestore(pair)
  played.catch(() => undefined)
  try {
    await archives.restoreArchive(pair.server, args)
    return await played
  } finally {
    pair.close()
  }
}
