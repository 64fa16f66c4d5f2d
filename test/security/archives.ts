/** What checkpoints hold, unpacked: in their packs it is compressed, and no search of files would find it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { zstdDecompressSync } from 'node:zlib'
import { z } from 'zod'

const frame = z.object({ id: z.string(), workspace_id: z.string(), at: z.int(), length: z.int() })

/** All frames of all packs. */
export async function archivedBytes(dataDir: string): Promise<Buffer> {
  using db = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
  const rows = db
    .prepare(
      'SELECT DISTINCT p.id, p.workspace_id, c.frame_start AS at, c.frame_length AS length FROM chunks c JOIN packs p ON p.ord = c.pack',
    )
    .all()
  const frames: Buffer[] = []
  for (const row of rows) {
    const { id, workspace_id, at, length } = frame.parse(row)
    const pack = await readFile(join(dataDir, 'blobs', 'packs', workspace_id, id))
    frames.push(zstdDecompressSync(pack.subarray(at, at + length)))
  }
  return Buffer.concat(frames)
}
