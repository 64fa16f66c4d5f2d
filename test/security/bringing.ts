import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tool } from '../harness/message.ts'

/** Lines of a script with which an agent writes these programs, which lie beside this file, into a directory of its sandbox. */
export async function bringing(names: readonly string[], dir: string): Promise<string[]> {
  const contents = await Promise.all(names.map((name) => readFile(join(import.meta.dirname, name), 'utf8')))
  const writes = names.map((name, index) =>
    tool('Write', { file_path: `${dir}/${name}`, content: contents[index] ?? '' }),
  )
  return writes.flatMap((write, index) => (index === 0 ? [write] : ['::next', write]))
}
