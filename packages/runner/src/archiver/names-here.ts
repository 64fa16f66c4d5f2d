import { opendirSync } from 'node:fs'
import type { BytePath } from './byte-path.ts'

const AT_ONCE = 1024

/** Names in a directory, as they come, at most `limit + 1` of them: whoever gets so many knows that there are more than it wants. */
export function namesIn(directory: string | Buffer, limit: number): BytePath[] {
  // The declared type of names does not know this encoding's name, but it is one of text.
  const stream = opendirSync(directory, { encoding: 'latin1', bufferSize: AT_ONCE })
  const names: BytePath[] = []
  try {
    while (names.length <= limit) {
      const entry = stream.readSync()
      if (entry === null) break
      names.push(entry.name)
    }
  } finally {
    stream.closeSync()
  }
  return names
}
