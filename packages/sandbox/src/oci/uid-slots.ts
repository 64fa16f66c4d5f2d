import { link, mkdir, readdir, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'
import { errno } from './errno.ts'

/** Ids that one sandbox owns: 0 to 65535 inside. */
export const UIDS_PER_SLOT = 65_536
/** Above every range that systemd and shadow hand out by themselves, below 2^31. */
export const FIRST_UID = 0x7000_0000
export const SLOTS = 4_000

/**
 * Host uid ranges, one for each sandbox. `<dir>/<slot>` is a hard link to the file `slot` of the sandbox that owns it: link(2) lets
 * exactly one win, and the inode says whose a slot is, so that nobody can free what has meanwhile become another's.
 */
export class UidSlots {
  readonly #dir: string
  readonly #slots: number

  constructor(dir: string, slots = SLOTS) {
    this.#dir = dir
    this.#slots = slots
  }

  static uidBase(slot: number): number {
    return FIRST_UID + slot * UIDS_PER_SLOT
  }

  /** Takes the lowest free slot for the sandbox whose directory this is. `unavailable` when all are taken. */
  async take(sandboxDir: string): Promise<number> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
    const claim = join(sandboxDir, 'slot')
    await writeFile(claim, '', { mode: 0o600 })
    const taken = new Set(await readdir(this.#dir))
    for (let slot = 0; slot < this.#slots; slot++) {
      if (!taken.has(String(slot)) && (await this.#linked(claim, slot))) return slot
    }
    throw new BerthError('unavailable', `all ${this.#slots} uid ranges are in use (${this.#dir})`)
  }

  /** Gives the slot of this sandbox directory back, if it has one. */
  async release(sandboxDir: string): Promise<void> {
    const claim = await stat(join(sandboxDir, 'slot')).catch(() => undefined)
    if (claim === undefined || claim.nlink < 2) return
    for (const slot of await readdir(this.#dir)) {
      const path = join(this.#dir, slot)
      const owner = await stat(path).catch(() => undefined)
      if (owner?.ino === claim.ino) await unlink(path)
    }
  }

  async #linked(claim: string, slot: number): Promise<boolean> {
    try {
      await link(claim, join(this.#dir, String(slot)))
      return true
    } catch (error) {
      if (errno(error) === 'EEXIST') return false
      throw error
    }
  }
}
