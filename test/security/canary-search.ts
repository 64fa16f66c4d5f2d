/** Looks for secrets in all that a Berth has kept. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import type { Secret } from './secrets.ts'

/** One line for each secret and each file of the directory that holds it and should not. */
export async function misplacedSecrets(dir: string, secrets: readonly Secret[]): Promise<string[]> {
  const values = await mkdtemp(join(tmpdir(), 'secrets-'))
  try {
    const patterns = join(values, 'values')
    await writeFile(patterns, secrets.map(({ value }) => value).join('\n'))
    const command = `LC_ALL=C grep -raoFZ -f '${patterns}' -- '${dir}' | LC_ALL=C sort -u`
    const { stdout } = await promisify(execFile)('sh', ['-c', command], { maxBuffer: 64 * 1024 * 1024 })
    return stdout.split('\n').flatMap((line) => {
      const [file = '', value = ''] = line.split('\0')
      const path = relative(dir, file)
      return secretsIn(value, secrets).flatMap(({ kind, places }) =>
        places.some((place) => place.test(path)) ? [] : [`${kind}: ${path}`],
      )
    })
  } finally {
    await rm(values, { recursive: true })
  }
}

/** Of these, the ones that the text holds. */
export function secretsIn(text: string, secrets: readonly Secret[]): Secret[] {
  return secrets.filter(({ value }) => text.includes(value))
}
