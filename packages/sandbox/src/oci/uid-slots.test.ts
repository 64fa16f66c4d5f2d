import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FIRST_UID, SLOTS, UIDS_PER_SLOT, UidSlots } from './uid-slots.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'slots-'))
})
afterEach(() => rm(dir, { recursive: true }))

async function sandboxDir(name: string): Promise<string> {
  await mkdir(join(dir, name))
  return join(dir, name)
}

describe('uid slots', () => {
  it('never gives one slot to two, however many ask at once', async () => {
    const dirs = await Promise.all(Array.from({ length: 40 }, (_, n) => sandboxDir(`s${n}`)))
    // Two allocators stand for two servers.
    const [one, other] = [new UidSlots(join(dir, 'slots')), new UidSlots(join(dir, 'slots'))]
    const taken = await Promise.all(dirs.map((at, n) => (n % 2 === 0 ? one : other).take(at)))
    expect(new Set(taken)).toEqual(new Set(Array.from({ length: 40 }, (_, n) => n)))
  })

  it('gives a released slot again, and only then', async () => {
    const slots = new UidSlots(join(dir, 'slots'), 2)
    const [a, b, c] = [await sandboxDir('a'), await sandboxDir('b'), await sandboxDir('c')]
    expect([await slots.take(a), await slots.take(b)]).toEqual([0, 1])
    await expect(slots.take(c)).rejects.toMatchObject({ code: 'unavailable' })
    await slots.release(a)
    expect(await slots.take(c)).toBe(0)
  })

  it('does not release what has become another sandbox’s', async () => {
    const slots = new UidSlots(join(dir, 'slots'))
    const [a, b] = [await sandboxDir('a'), await sandboxDir('b')]
    await slots.take(a)
    await slots.release(a)
    expect(await slots.take(b)).toBe(0)
    await slots.release(a)
    expect(await readdir(join(dir, 'slots'))).toEqual(['0'])
  })

  it('keeps all ranges apart and below 2^31', () => {
    expect(UidSlots.uidBase(1) - UidSlots.uidBase(0)).toBe(UIDS_PER_SLOT)
    expect(FIRST_UID % UIDS_PER_SLOT).toBe(0)
    expect(UidSlots.uidBase(SLOTS)).toBeLessThan(2 ** 31)
  })
})
