import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { hostname, networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { contentPath } from '../harness/berth-api.ts'
import { tool } from '../harness/message.ts'
import { bringing } from './bringing.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'

const word = z.string()
const findings = z.object({
  identity: z.object({
    uid: z.number(),
    hostUid: z.number(),
    effective: word,
    noNewPrivileges: word,
    seccomp: word,
    hostname: word,
  }),
  processes: z.array(word),
  keys: word,
  voice: z.array(word),
  said: word,
  sockets: z.array(word),
  host: z.object({ file: word, process: word, interfaces: z.array(word) }),
  network: z.record(word, word),
  link: word,
  egress: word,
  runner: z.record(word, word),
  privileges: z.record(word, word),
  writable: z.array(word),
  gateway: z.record(word, z.union([z.number(), word])),
})

let held: AsyncDisposableStack
let berth: TestBerth
let found: z.infer<typeof findings>
let callsBefore: number
/** Of the machine, but for its loopback. */
const addresses = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .filter(({ internal, scopeid }) => !internal && (scopeid ?? 0) === 0)
  .map(({ address }) => address)
/** What a neighbour's sandbox shows of itself, if it can be seen. */
let neighbour: string

beforeAll(async () => {
  await using opened = new AsyncDisposableStack()
  berth = opened.use(await startTestBerth())
  neighbour = (await berth.createSession()).id
  const abstract = `berth-test-${process.pid}`
  const listener = createServer((socket) => socket.destroy()).listen(`\0${abstract}`)
  opened.defer(() => void listener.close())
  await once(listener, 'listening')
  const hostDir = await mkdtemp(join(tmpdir(), 'bt-host-'))
  opened.defer(() => rm(hostDir, { recursive: true }))
  const hostFile = join(hostDir, 'secret')
  await writeFile(hostFile, 'x', { mode: 0o666 })
  await berth.runTurn(neighbour, ['Live', tool('Bash', { command: 'sleep 300 & echo here' })])
  const { id } = await berth.createSession()
  await berth.runTurn(id, ['Prepare', ...(await bringing(['attempts.mjs', 'probe.mjs'], '/workspace'))])
  callsBefore = berth.model.requests().length
  const port = new URL(berth.server.url).port
  const command = `/opt/berth/node probe.mjs ${port} ${abstract} ${hostFile} ${process.pid} ${addresses.join() || '192.0.2.1'} > found`
  await berth.runTurn(id, ['Probe', tool('Bash', { command })])
  found = findings.parse(await (await berth.fetch(contentPath(id, 'found'))).json())
  held = opened.move()
})
afterAll(() => held.disposeAsync())

test('it is nobody: no capability, no way to one, no uid of the host', () => {
  expect(found.identity).toMatchObject({
    uid: 1000,
    effective: '0000000000000000',
    noNewPrivileges: '1',
    seccomp: '2',
    hostname: 'sandbox',
  })
  expect(found.identity.hostUid).toBeGreaterThanOrEqual(65_536)
  expect(new Set(Object.values(found.privileges))).toEqual(new Set(['failed']))
})

test('it sees its own sandbox alone: no process, file or socket of the host or of a neighbour', () => {
  expect(found.host).toEqual({ file: 'ENOENT', process: 'hidden', interfaces: ['lo'] })
  // Its own alone: neither the runner nor process 1.
  const known = /^(\/opt\/berth\/(node probe|claude)|\/bin\/(ba)?sh|find)\b/
  expect(found.processes.filter((name) => !known.test(name))).toEqual([])
  expect(found.processes.join('\n')).not.toMatch(/sleep/)
  const sockets = found.sockets.filter((path) => !path.startsWith('/home/')).toSorted()
  expect(sockets).toEqual(['/run/berth/gw/1000/egress.sock', '/run/berth/gw/1000/model.sock'])
  expect(found.sockets.join('\n')).not.toContain(neighbour)
})

test('it finds no key, no socket and no name of anybody else', async () => {
  expect(found.keys).toBe('')
  const { agent, environment_id } = await berth.client.beta.sessions.retrieve(neighbour)
  expect(found.said.length).toBeGreaterThan(1_000)
  const ids = [neighbour, agent.id, environment_id]
  expect(ids.filter((id) => found.said.includes(id))).toEqual([])
  const words = new Set(found.said.split(/[^\w.-]/))
  expect([agent.name, hostname()].filter((name) => words.has(name))).toEqual([])
})

test('it cannot speak for its own process', () => {
  expect(found.voice).toEqual(['ENXIO', 'ENXIO', 'ENXIO'])
})

test('it has no network', () => {
  expect(found.network).toEqual({
    name: 'failed',
    loopback: 'ECONNREFUSED',
    host: addresses.map(() => 'ENETUNREACH').join() || 'ENETUNREACH',
    public: 'ENETUNREACH',
    metadata: 'ENETUNREACH',
    ipv6: 'ENETUNREACH',
    dns: 'ENETUNREACH',
    abstract: 'ECONNREFUSED',
  })
})

test('it cannot reach the link or the way out but by its port, nor touch the runner', () => {
  expect(found.link).toBe('EACCES')
  expect(found.egress).toBe('EACCES')
  expect(found.runner).toEqual({
    signal: 'EPERM',
    stop: 'EPERM',
    environment: 'ENOENT',
    memory: 'ENOENT',
    descriptors: 'ENOENT',
    root: 'ENOENT',
    init: 'EPERM',
  })
})

test('it can write where it may, and nowhere else', () => {
  const allowed = ['/dev/shm', '/mnt/session/outputs', '/tmp', '/workspace']
  expect(found.writable).toEqual(allowed)
})

test('the model socket serves two paths and nothing else', () => {
  expect(found.gateway).toEqual({
    models: 404,
    files: 404,
    dots: 404,
    encoded: 404,
    query: 404,
    absolute: 404,
    get: 405,
    connect: 405,
    upgrade: 400,
    text: 415,
    batches: 404,
    admin: 404,
    control: 404,
  })
  // The turn's own: one that calls the tool, one after it.
  expect(berth.model.requests().length - callsBefore).toBe(2)
})
