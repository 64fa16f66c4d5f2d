import { chmod, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

const apiKey = z.string().regex(/^[\x21-\x7e]{16,512}$/)

export function apiKeyPath(dataDir: string): string {
  return join(dataDir, 'api-key')
}

/** The key that `serve` left in its data directory; undefined when there is none. Throws when the file holds no key. */
export async function readApiKey(dataDir: string): Promise<string | undefined> {
  const path = apiKeyPath(dataDir)
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
  if (text === undefined) return undefined
  const key = apiKey.safeParse(text.trim())
  if (!key.success) throw new Error(`${path} holds no API key`)
  return key.data
}

/** Replaces the file as a whole, readable by its owner alone from the first byte on. Returns its path. */
export async function writeApiKey(dataDir: string, key: string): Promise<string> {
  const path = apiKeyPath(dataDir)
  const draft = `${path}.new`
  await rm(draft, { force: true })
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(`${apiKey.parse(key)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  // The umask may have taken bits away that the owner needs.
  await chmod(draft, 0o600)
  await rename(draft, path)
  return path
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}
