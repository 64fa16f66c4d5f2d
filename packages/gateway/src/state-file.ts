import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Writes a file of the state directory, for its owner alone: whole or not at all, and there for good when this resolves. Those of one path
 * come one after another.
 */
export async function writeStateFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp`
  try {
    // One that a killed process left may have another mode.
    await rm(temporary, { force: true })
    {
      await using file = await open(temporary, 'wx', 0o600)
      await file.writeFile(text)
      await file.sync()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await using directory = await open(dirname(path))
  await directory.sync()
}
