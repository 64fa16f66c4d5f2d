import { randomInt } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { errno } from './errno.ts'
import { processIdentity } from './process-identity.ts'
import type { ProcessIdentity } from './process-identity.ts'

/** `sandbox.json`: what a sandbox is. Written before its directory gets its name, never changed. */
const sandboxRecord = z.object({
  id: z.string(),
  labels: z.record(z.string(), z.string()),
  uidBase: z.int(),
  /** The process that makes it. As long as this one lives, a sandbox without a shim is on its way. */
  maker: processIdentity,
})
export type SandboxRecord = z.infer<typeof sandboxRecord>

/** `shim.json`: the outermost process of the sandbox; it ends after every other. */
const shimRecord = z.object({ shim: processIdentity })

/** The files in one sandbox's directory. Those that decide something are replaced whole or not at all. */
export const sandboxFiles = {
  async writeRecord(dir: string, record: SandboxRecord): Promise<void> {
    await replaceFile(join(dir, 'sandbox.json'), JSON.stringify(record))
  },

  async readRecord(dir: string): Promise<SandboxRecord | undefined> {
    const text = await readIfThere(join(dir, 'sandbox.json'))
    return text === undefined ? undefined : sandboxRecord.parse(JSON.parse(text))
  },

  async writeShim(dir: string, shim: ProcessIdentity): Promise<void> {
    await replaceFile(join(dir, 'shim.json'), JSON.stringify({ shim }))
  },

  async readShim(dir: string): Promise<ProcessIdentity | undefined> {
    const text = await readIfThere(join(dir, 'shim.json'))
    return text === undefined ? undefined : shimRecord.parse(JSON.parse(text)).shim
  },

  /** `started`, written by the shim: the runner has been launched at least once; a sandbox that has not come so far holds nothing of value. */
  async hasStarted(dir: string): Promise<boolean> {
    return (await readIfThere(join(dir, 'started'))) !== undefined
  },

  /** `until`: seconds since boot at which the shim ends the sandbox; jumps of the time of day do not move it. */
  async writeUntil(dir: string, millisecondsFromNow: number): Promise<void> {
    const [uptime] = (await readFile('/proc/uptime', 'utf8')).split(' ')
    const until = Math.max(0, Math.ceil(Number(uptime) + millisecondsFromNow / 1000))
    await replaceFile(join(dir, 'until'), `${until}\n`)
  },
}

export async function replaceFile(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomInt(2 ** 47)}`
  await writeFile(draft, text, { mode: 0o600 })
  await rename(draft, path)
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined
    throw error
  }
}
