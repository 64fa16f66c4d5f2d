import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { isRoot, LoopMount } from './loop-mount.ts'

const CYCLES = 10
/** Acknowledgements after which the power fails, in the middle of the next commits. */
const ENOUGH = 150

const told = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('event'), id: z.string(), key: z.string() }),
  z.object({ kind: z.literal('metered'), id: z.string() }),
])
type Told = z.infer<typeof told>

let disk: LoopMount
beforeAll(() => {
  if (isRoot) disk = new LoopMount(64 * 1024 * 1024)
})
afterAll(() => {
  if (isRoot) disk[Symbol.dispose]()
})

if (!isRoot) process.stdout.write('left out: the power cut, which mounts a file system and needs root\n')

test.skipIf(!isRoot)(
  'what was acknowledged before the power failed is there afterwards',
  async () => {
    const acknowledged: Told[] = []
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const unsynced = join(disk.path, `unsynced-${cycle}`)
      acknowledged.push(...(await writeUntilCut(ENOUGH + cycle * 7, unsynced)))
      // Else the cut was none.
      expect(isWhole(unsynced)).toBe(false)
      expect(missing(acknowledged)).toEqual([])
    }
    expect(acknowledged.filter(({ kind }) => kind === 'metered').length).toBeGreaterThan(CYCLES)
    expect(acknowledged.length).toBeGreaterThan(CYCLES * ENOUGH)
  },
  120_000,
)

const filler = Buffer.alloc(64 * 1024, 'x')

function isWhole(path: string): boolean {
  return existsSync(path) && readFileSync(path).equals(filler)
}

/** Answers what was acknowledged before the cut. `unsynced` is written right before it. */
async function writeUntilCut(enough: number, unsynced: string): Promise<Told[]> {
  const writer = spawn(process.execPath, [join(import.meta.dirname, 'busy-writer.ts'), disk.path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const acknowledged: Told[] = []
  let before = 0
  let err = ''
  writer.stderr.on('data', (data: Buffer) => (err += data.toString()))
  const ended = once(writer, 'close')
  const isEnough = Promise.withResolvers<void>()
  createInterface({ input: writer.stdout }).on('line', (line) => {
    acknowledged.push(told.parse(JSON.parse(line)))
    if (acknowledged.length === enough) isEnough.resolve()
  })
  void ended.then(() => isEnough.reject(new Error(`the writer ended: ${err}`)))
  try {
    await isEnough.promise
    writeFileSync(unsynced, filler)
    // What is said during the cut counts for nothing: no real power failure lets anybody say it.
    before = acknowledged.length
    disk.cutPower()
  } finally {
    writer.kill('SIGKILL')
    await ended
  }
  disk.restore()
  return acknowledged.slice(0, before)
}

/** Reads both files as the next start would find them. */
function missing(acknowledged: readonly Told[]): string[] {
  using store = open('berth.db')
  using ledger = open('ledger.db')
  const event = store.database.prepare('SELECT body FROM events WHERE id = ?')
  const note = store.database.prepare('SELECT result FROM requests WHERE key = ?')
  const row = ledger.database.prepare('SELECT id FROM requests WHERE id = ?')
  return [
    ...store.faults,
    ...ledger.faults,
    ...acknowledged.flatMap((one) => {
      if (one.kind === 'metered') return row.get(one.id) === undefined ? [`metered ${one.id}`] : []
      const isThere = String(event.get(one.id)?.['body']).includes(one.key)
      const isNoted = String(note.get(one.key)?.['result']).includes(one.id)
      return isThere && isNoted ? [] : [`event ${one.id} of ${one.key}`]
    }),
  ]
}

function open(name: string): Disposable & { database: DatabaseSync; faults: string[] } {
  const database = new DatabaseSync(join(disk.path, name))
  const found = database
    .prepare('PRAGMA integrity_check')
    .all()
    .map((row) => String(row['integrity_check']))
  const faults = found.filter((line) => line !== 'ok').map((line) => `${name}: ${line}`)
  return { database, faults, [Symbol.dispose]: () => database.close() }
}
