/**
 * The epochs under which a sandbox was acted for: an empty file each, so that of two processes which add theirs at once neither can bring
 * back the lower one.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'
import { errno } from './errno.ts'

/** Begins the record in the directory of a sandbox that is being made. */
export async function firstEpoch(dir: string, epoch: number): Promise<void> {
  await mkdir(join(dir, 'epochs'), { mode: 0o700 })
  await note(dir, epoch)
}

/** Throws `conflict` under an epoch that has passed; otherwise lower ones are refused from here on. Nothing where there is no sandbox. */
export async function admitEpoch(dir: string, id: string, epoch: number): Promise<void> {
  try {
    const known = await readdir(join(dir, 'epochs'))
    const highest = Math.max(0, ...known.map(Number))
    if (epoch < highest) {
      throw new BerthError('conflict', `sandbox ${id} is driven under epoch ${highest}, this call is of epoch ${epoch}`)
    }
    if (epoch > highest) await note(dir, epoch)
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw error
  }
}

async function note(dir: string, epoch: number): Promise<void> {
  await writeFile(join(dir, 'epochs', String(epoch)), '', { mode: 0o600 })
}
