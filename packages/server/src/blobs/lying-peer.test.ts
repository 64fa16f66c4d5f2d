import { randomBytes } from 'node:crypto'
import { type ArchiveEntry, CHUNK_BYTES, MAX_SEGMENT_ENTRIES } from '@berth/protocol/archive'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ChannelPair, limits, playSave, readQuestion, root, saved, sha } from '../../test/archive-peer.ts'
import {
  type ArchiveWorld,
  blobKeys,
  checkpoint,
  newSession,
  openWorldWith,
  restored,
  workspaceId,
} from '../../test/archive-world.ts'

let world: ArchiveWorld
/** Of another session of the same workspace. */
let foreign: string
let mine: string
const secret = new Uint8Array(randomBytes(5_000))
const own = new Uint8Array(randomBytes(5_000))

beforeAll(async () => {
  const opened = await openWorldWith({ secret: { bytes: secret } })
  world = opened
  foreign = opened.id
  mine = (await checkpoint(world, await newSession(world.store), { own: { bytes: own } })).id
})
afterAll(() => world[Symbol.asyncDispose]())

const common = { r: root.name, m: 0o644, t: '0' }
const top: ArchiveEntry = { k: 'dir', ...common, p: '' }
const dir = (p: string): ArchiveEntry => ({ k: 'dir', ...common, p })
const file = (p: string, s = 0, c: (string | number)[] = []): ArchiveEntry => ({ k: 'file', ...common, p, s, c })
const link = (p: string, to: string): ArchiveEntry => ({ k: 'link', ...common, p, to })
const hard = (p: string, of: string): ArchiveEntry => ({ k: 'hard', ...common, p, of: { r: root.name, p: of } })
const segment = (...entries: unknown[]): string => entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')

type Play = (pair: ChannelPair) => Promise<void>

/** Answers what the save said. */
async function save(play: Play, options: { base?: string | null; seconds?: number; signal?: AbortSignal } = {}) {
  const { base = mine, seconds = 20, signal = AbortSignal.timeout(30_000) } = options
  const pair = new ChannelPair()
  const small = { bytes: 4 * CHUNK_BYTES, entries: 20, depth: 2, seconds }
  const played = play(pair).catch(() => undefined)
  try {
    await using result = await world.archives.saveArchive(pair.server, {
      workspaceId,
      base,
      roots: [root, { name: 'home', path: '/home/a', exclude: [] }],
      limits: small,
      signal,
    })
    return result.archive
  } finally {
    pair.close()
    await played
  }
}

const says =
  (...messages: Parameters<ChannelPair['reply']>[0][]): Play =>
  async (pair) => {
    await readQuestion(pair)
    for (const message of messages) await pair.reply(message)
    await pair.reply(saved)
  }
const tells = (...entries: unknown[]): Play => says({ type: 'segment', text: segment(...entries) })

const lies: Record<string, Play> = {
  "names another session's chunk": tells(top, file('a', secret.length, [sha(secret)])),
  'names a chunk that nobody has': tells(top, file('a', 1, [sha('nothing')])),
  'claims a segment that its checkpoint has not': says({ type: 'known_segment', hash: sha('nothing') }),
  'gives a known chunk another size': tells(top, file('a', own.length + 1, [sha(own)])),
  'gives a file more bytes than chunks': tells(top, file('a', CHUNK_BYTES + 1, [sha(own)])),
  'gives a file fewer bytes than zeros': tells(top, file('a', 1, [2])),
  'gives an empty file a chunk': tells(top, file('a', 0, [sha(own)])),
  'names no root first': tells(file('a')),
  'makes the root a file': tells(file('')),
  'makes the root a link': tells(link('', '/etc')),
  'goes up': tells(top, file('..')),
  'goes up in the middle': tells(top, dir('a'), file('a/../../b')),
  'begins with a slash': tells(top, file('/etc/passwd')),
  'ends with a slash': tells(top, dir('a/')),
  'has an empty part': tells(top, dir('a'), file('a//b')),
  'has a NUL': tells(top, file('a\0b')),
  'has a NUL in base64': tells(top, { ...file('x'), p: { b64: Buffer.from('a\0b').toString('base64') } }),
  'goes up in base64': tells(top, { ...file('x'), p: { b64: Buffer.from('..').toString('base64') } }),
  'has half a character': tells(top, file('a\ud800')),
  'has a long name': tells(top, file('a'.repeat(256))),
  'is in what is excluded': tells(top, dir('.berth')),
  'is below what is excluded': tells(top, file('.berth/x')),
  'has an unknown root': tells(top, { ...file('a'), r: 'etc' }),
  'has roots out of order': tells({ ...top, r: 'home' }, top),
  'goes back to a root': tells(top, { ...top, r: 'home' }, file('a')),
  'has no parent': tells(top, file('a/b')),
  'puts a file into a file': tells(top, file('a'), file('a/b')),
  'puts a file into a link': tells(top, link('a', '/etc'), file('a/passwd')),
  'comes twice': tells(top, dir('a'), dir('a')),
  'comes twice, once in base64': tells(top, file('a'), {
    ...file('a'),
    p: { b64: Buffer.from('a').toString('base64') },
  }),
  'is out of order': tells(top, file('b'), file('a')),
  'comes back to a directory': tells(top, dir('a'), file('b'), file('a/c')),
  'hard link to nothing': tells(top, hard('a', 'b')),
  'hard link to what comes later': tells(top, hard('a', 'b'), file('b')),
  'hard link to a link': tells(top, link('a', '/etc/shadow'), hard('b', 'a')),
  'hard link to a directory': tells(top, dir('a'), hard('b', 'a')),
  'link to nothing': tells(top, link('a', '')),
  'link with a NUL': tells(top, link('a', 'x\0')),
  setuid: tells(top, { ...file('a'), m: 0o4755 }),
  'another field': tells(top, { ...file('a'), uid: 0 }),
  'no JSON': says({ type: 'segment', text: 'x\n' }),
  'an empty segment': says({ type: 'segment', text: '' }),
  'an empty line': says({ type: 'segment', text: `${segment(top)}\n${segment(file('a'))}` }),
  'a segment of too many entries': tells(top, ...Array.from({ length: MAX_SEGMENT_ENTRIES }, (_, n) => file(`${n}`))),
  'a segment that is too large': says({ type: 'segment', text: `${segment(top)}${' '.repeat(2 * 1024 * 1024)}` }),
  'an empty chunk': says(new Uint8Array()),
  'a chunk that is too large': says(new Uint8Array(CHUNK_BYTES + 1)),
  'answers another question': says({ type: 'restored', entries: 1, bytes: 1 }),
  'answers before it was asked': async (pair) => {
    await pair.reply({ type: 'segment', text: segment(top) })
    await pair.reply(saved)
  },
}

test.each(Object.entries(lies))('%s', async (_, play) => {
  await expect(save(play)).rejects.toMatchObject({ code: 'internal', details: { error_code: 'bad_archive' } })
  await expectNothingLeft()
})

const floods: Record<string, Play> = {
  'too many entries': tells(top, ...Array.from({ length: 20 }, (_, n) => file(`a${String(n).padStart(2, '0')}`))),
  'too deep': tells(top, dir('a'), dir('a/b'), dir('a/b/c')),
  'too deep for a file': tells(top, dir('a'), dir('a/b'), file('a/b/c'), dir('a/b/d'), file('a/b/d/e')),
  'too large': tells(top, file('a', 5 * CHUNK_BYTES, [5])),
  'too large by a number that is none': tells(top, file('a', Number.MAX_SAFE_INTEGER, [1])),
  'chunks without end': async (pair) => {
    await readQuestion(pair)
    for (;;) await pair.reply(new Uint8Array(randomBytes(CHUNK_BYTES)))
  },
  'the same chunk without end': async (pair) => {
    await readQuestion(pair)
    for (;;) await pair.reply(own)
  },
  'tiny chunks without end': async (pair) => {
    await readQuestion(pair)
    for (let n = 0; ; n++) await pair.reply(new TextEncoder().encode(`${n}`))
  },
  'segments without end': async (pair) => {
    await readQuestion(pair)
    await pair.reply({ type: 'segment', text: segment(top) })
    for (let n = 100; ; n++) await pair.reply({ type: 'segment', text: segment(file(`${n}`)) })
  },
}

test.each(Object.entries(floods))('%s', async (_, play) => {
  await expect(save(play)).rejects.toMatchObject({ code: 'too_large', details: { error_code: 'archive_limit' } })
  await expectNothingLeft()
})

test('a helper that hangs is given up, whenever it does', async () => {
  const hang = { code: 'timeout' }
  await expect(save(() => Promise.resolve(), { seconds: 1 })).rejects.toMatchObject(hang)
  const afterQuestion: Play = async (pair) => void (await readQuestion(pair))
  await expect(save(afterQuestion, { seconds: 1 })).rejects.toMatchObject(hang)
  const amid: Play = async (pair) => {
    await readQuestion(pair)
    for (let n = 0; n < 3; n++) await pair.reply(new Uint8Array(randomBytes(CHUNK_BYTES)))
  }
  await expect(save(amid, { seconds: 1 })).rejects.toMatchObject(hang)
  await expectNothingLeft()
})

test('a helper that does not read what it is told is given up', async () => {
  const pair = new ChannelPair()
  const never = { ...pair.server, send: () => new Promise<void>(() => undefined) }
  const args = { workspaceId, base: mine, roots: [root], signal: AbortSignal.timeout(30_000) }
  const saving = world.archives.saveArchive(never, { ...args, limits: { ...limits, seconds: 1 } })
  await expect(saving).rejects.toMatchObject({ code: 'timeout' })
  const restoring = world.archives.restoreArchive(never, {
    ...args,
    checkpoint: mine,
    limits: { ...limits, seconds: 1 },
  })
  await expect(restoring).rejects.toMatchObject({ code: 'timeout' })
  await expectNothingLeft()
})

test('whoever asked may give up, with a reason of its own', async () => {
  const stop = new AbortController()
  const play: Play = async (pair) => {
    await readQuestion(pair)
    await pair.reply(new Uint8Array(randomBytes(CHUNK_BYTES)))
    stop.abort(new Error('the session was deleted'))
  }
  await expect(save(play, { signal: stop.signal })).rejects.toThrow('the session was deleted')
  await expectNothingLeft()
})

test('a channel that closes ends the save', async () => {
  const play: Play = async (pair) => {
    await readQuestion(pair)
    await pair.reply(new Uint8Array(randomBytes(CHUNK_BYTES)))
    pair.close()
  }
  await expect(save(play)).rejects.toMatchObject({ code: 'unavailable' })
  await expectNothingLeft()
})

test("the helper's own words for a failure come through", async () => {
  const failed = { type: 'failed', code: 'denied', message: '/workspace is not yours' } as const
  await expect(save((pair) => pair.reply(failed))).rejects.toMatchObject({
    code: 'invalid_request',
    message: 'in the sandbox: /workspace is not yours',
  })
  const pair = new ChannelPair()
  const args = { workspaceId, checkpoint: mine, roots: [root], limits, signal: AbortSignal.timeout(30_000) }
  void pair.reply({ type: 'failed', code: 'full', message: 'no room' })
  await expect(world.archives.restoreArchive(pair.server, args)).rejects.toMatchObject({ code: 'unavailable' })
})

test('what is odd but possible is taken', async () => {
  const chunk = new Uint8Array(randomBytes(CHUNK_BYTES))
  const bytes = { b64: Buffer.from([0xff, 0xfe]).toString('base64') }
  const odd = { r: root.name, p: 'pipe', why: 'x'.repeat(100_000) }
  const long = { ...odd, p: 'p'.repeat(5_000) }
  const archive = await save(async (pair) => {
    const known = await readQuestion(pair)
    expect([...known].includes(sha(own))).toBe(true)
    expect([...known].includes(sha(secret))).toBe(false)
    await pair.reply(chunk)
    await pair.reply(chunk)
    const half = file('half', 2 * CHUNK_BYTES, [1, sha(chunk)])
    await pair.reply({ type: 'segment', text: segment(top, dir('a'), file('a/z'), file('a b'), dir('a.'), half) })
    const name = { ...file('x'), p: bytes }
    await pair.reply({ type: 'segment', text: segment(link('link', '../..'), hard('o', 'a/z'), name).trimEnd() })
    await pair.reply({ type: 'segment', text: segment({ ...top, r: 'home' }, { ...hard('h', 'half'), r: 'home' }) })
    await pair.reply({ type: 'saved', entries: 1_000_000, bytes: 0, refused: [long, odd], refused_count: 7 })
  })
  expect(archive).toMatchObject({ entries: 11, bytes: 2 * CHUNK_BYTES, refusedCount: 7 })
  expect(archive.segments).toHaveLength(3)
  expect(archive.refused).toEqual([{ ...odd, why: 'x'.repeat(300) }])
  await expectNothingLeft()
})

test('an honest save goes on after all that', async () => {
  await expectNothingLeft()
  const archive = await save((pair) => playSave(pair, { own: { bytes: own } }))
  expect(archive).toMatchObject({ entries: 2, bytes: own.length, storedBytes: 0 })
})

async function expectNothingLeft(): Promise<void> {
  expect(await world.store.listUncommittedPacks({ saveId: null })).toEqual([])
  const packs = await world.store.listPacks({ workspaceId })
  expect(await blobKeys(world.blobs)).toEqual(packs.map(({ id }) => `packs/${workspaceId}/${id}`).toSorted())
  expect(await restored(world.archives, foreign)).toEqual({ secret: { bytes: secret } })
}
