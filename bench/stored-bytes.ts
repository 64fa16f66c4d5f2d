/** What checkpoints take of the server's disk. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'

const size = z.object({ bytes: z.int().nullable() })

export interface StoredBytes {
  /** Of all packs. */
  readonly blobs: number
  /** Of the pages that hold what is known of checkpoints, packs and chunks, with their indexes. */
  readonly tables: number
}

/** As it is now: what is under way counts as far as it is written. */
export async function storedBytes(dataDir: string): Promise<StoredBytes> {
  const dir = join(dataDir, 'blobs')
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  const sizes = await Promise.all(files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size))
  using database = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
  const pages = database.prepare(
    `SELECT sum(pgsize) AS bytes FROM dbstat WHERE name IN
      (SELECT name FROM sqlite_schema WHERE tbl_name IN ('packs', 'chunks', 'checkpoints'))`,
  )
  return { blobs: sizes.reduce((sum, one) => sum + one, 0), tables: size.parse(pages.get()).bytes ?? 0 }
}
