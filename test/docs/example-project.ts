import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './page.ts'

/** A project with `example.ts`, in which the official client is installed and nothing else of ours. */
export async function exampleProject(example: string): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'berth-example-'))
  await symlink(join(root, 'node_modules'), join(path, 'node_modules'))
  await writeFile(join(path, 'package.json'), '{"type":"module"}')
  await writeFile(join(path, 'example.ts'), example)
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}
