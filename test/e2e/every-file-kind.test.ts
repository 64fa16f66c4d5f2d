import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { contentPath } from '../harness/berth-api.ts'
import { bash, tool } from '../harness/message.ts'
import { messagesOf, ofType } from '../harness/reading.ts'
import { story } from '../harness/story.ts'
import type { TestBerth } from '../harness/test-berth.ts'

const outputs = '/mnt/session/outputs'
const script = `${outputs}/every-file-kind.sh`
/** Nanoseconds by which a time that was saved may differ from the file's own. */
const TIME_STEP = 120n

/** A record of the script without its time, and that in nanoseconds; 0 for one that has none. */
type Entry = readonly [what: string, modified: bigint]

function entryOf(record: string): Entry {
  const [, kind = '', seconds = '', rest = '', what = ''] = /^(\w+) (-?\d+)\.(\d{9})0 (.*)$/s.exec(record) ?? []
  return kind === '' ? [record, 0n] : [`${kind} ${what}`, BigInt(seconds) * 1_000_000_000n + BigInt(rest)]
}

/** The tree as the programs in the sandbox saw it: bytes as one character each, in order. */
async function listed(berth: TestBerth, id: string, name: string): Promise<Entry[]> {
  const answer = await berth.fetch(contentPath(id, `${outputs}/${name}`))
  const records = Buffer.from(await answer.arrayBuffer())
    .toString('latin1')
    .split('\0')
  return records
    .filter((record) => record !== '')
    .map(entryOf)
    .toSorted(byWhat)
}

function byWhat([a]: Entry, [b]: Entry): number {
  return a < b ? -1 : Number(a > b)
}

/** What is to be there of it in another sandbox: no socket, no pipe, and none of the bits that let a file act for its owner. */
function kept(entries: readonly Entry[]): Entry[] {
  return entries
    .filter(([what]) => !/ \.\/modes\/gone-/.test(what))
    .map(([what, modified]): Entry => [what.replace(/^(\w+ )\d(\d{3} .*\/drops-)/, '$1$2'), modified])
    .toSorted(byWhat)
}

const whatOf = (entries: readonly Entry[]): string[] => entries.map(([what]) => what)

/** Each entry whose time is not what it was, but for what no program can set. */
function late(before: readonly Entry[], after: readonly Entry[]): string[] {
  return before.flatMap(([what, modified], index) => {
    const off = (after[index]?.[1] ?? 0n) - modified
    return off > TIME_STEP || off < -TIME_STEP ? [`${what}: ${off} ns`] : []
  })
}

story(
  'every kind of file comes back in another sandbox as it was, from its bytes to its time; what cannot be kept goes',
  async ({ berth }) => {
    const { id } = await berth.createSessionWith({ lifecycle: { type: 'hybrid', idle_timeout: 0 } })
    await using events = await berth.watch(id)
    const content = await readFile(join(import.meta.dirname, 'every-file-kind.sh'), 'utf8')
    const write = tool('Write', { file_path: script, content })
    const make = bash(`mkdir tree && cd tree && bash ${script} make && bash ${script} list > ${outputs}/1 && echo made`)
    const step = async (lines: readonly string[]): Promise<string[]> => {
      const turn = await berth.runTurn(id, lines, AbortSignal.timeout(120_000))
      await berth.untilPutAway()
      return messagesOf(turn)
    }
    expect(await step(['Make', write, '::next', make, '::next', '::text {{result}}'])).toEqual(['made'])
    const look = bash(`cd tree && bash ${script} list > ${outputs}/2 && echo looked`)
    expect(await step(['Look', look, '::next', '::text {{result}}'])).toEqual(['looked'])
    expect(berth.traces.sandboxIds).toHaveLength(2)
    const [first, second] = [await listed(berth, id, '1'), await listed(berth, id, '2')]
    expect(first.length).toBeGreaterThan(40_000)
    const kinds = [
      'p 644 1 0 ./modes/gone-pipe -> ',
      's 755 1 0 ./modes/gone-socket -> ',
      'f 4755 1 5 ./modes/drops-4755 -> ',
    ]
    expect(whatOf(first).filter((what) => kinds.includes(what))).toEqual(kinds.toSorted())
    expect(whatOf(second)).toEqual(whatOf(kept(first)))
    expect(late(kept(first), second)).toEqual([])
    expect(ofType(events.events, 'session.error')).toEqual([])
  },
  240_000,
)
