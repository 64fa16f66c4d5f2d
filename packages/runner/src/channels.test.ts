import { channelClose } from '@berth/protocol/channel-constants'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { bundleForTests } from './testing/bundle.ts'
import { dialled } from './testing/channel-peer.ts'
import { isRoot, untilSteady, wide } from './testing/file-tree.ts'
import { TestSandbox } from './testing/sandbox.ts'
import type { TestSession } from './testing/sandbox.ts'
import { processOf } from './uid-processes.ts'

const bundle = bundleForTests()
const MIB = 1024 * 1024

async function connected(): Promise<TestSandbox> {
  const sandbox = await TestSandbox.start(bundle)
  await sandbox.peer.until(() => sandbox.peer.hellos.length > 0)
  return sandbox
}

/** A server on a port of loopback, which hands over its connections. */
async function listening(onSocket: (socket: Socket) => void): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const dispose = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
  return { port: address.port, [Symbol.asyncDispose]: dispose }
}

const saving = ({ config }: TestSession): object => ({
  type: 'save',
  roots: [{ name: 'workspace', path: config.cwd, exclude: [] }],
  limits: wide,
})
const archiveJob = ({ id, config }: TestSession, freeze = false) =>
  ({ type: 'archive', session_id: id, uid: config.uid, own_dirs: config.own_dirs, freeze }) as const

function put(session: TestSession, name: string, content: string | Buffer): string {
  const path = join(session.config.cwd, name)
  writeFileSync(path, content)
  if (isRoot) chownSync(path, session.config.uid, session.config.uid)
  return path
}

/** A process of the session, which runs on its own. It starts no other, whose start would be another way to stand still. */
function running(session: TestSession, ...[program, ...args]: [string, ...string[]]): ChildProcess & Disposable {
  const { uid, cwd } = session.config
  const child = spawn(program, args, { uid, gid: uid, cwd, stdio: 'ignore', detached: true })
  const dispose = (): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      process.kill(-child.pid, 'SIGKILL')
  }
  return Object.assign(child, { [Symbol.dispose]: dispose })
}

it('a port is a stream of bytes both ways, however many', async () => {
  await using sandbox = await connected()
  await using server = await listening((socket) => socket.pipe(socket))
  const channel = await dialled(sandbox.peer, { type: 'port', port: server.port })
  expect(channel.authorization).toBe('Bearer canary-nonce')
  const sent = randomBytes(24 * MIB)
  for (let at = 0; at < sent.length; at += MIB) channel.say(sent.subarray(at, at + MIB))
  let bytes = 0
  await channel.until(() => {
    bytes = channel.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    return bytes >= sent.length
  })
  expect(hash('sha256', channel.bytes)).toBe(hash('sha256', sent))
  channel.socket.close()
  await channel.closed
})

it('a port that nobody listens on is said to be one', async () => {
  await using sandbox = await connected()
  const { port } = await (async () => {
    await using server = await listening(() => undefined)
    return server
  })()
  const channel = await dialled(sandbox.peer, { type: 'port', port })
  expect(await channel.closed).toEqual({ code: channelClose.cannot_connect, reason: `port ${port}: ECONNREFUSED` })
})

it('a port that closes closes the channel, behind its last bytes; and the other way round', async () => {
  await using sandbox = await connected()
  const last = randomBytes(3 * MIB)
  const heard: Buffer[] = []
  const ended = Promise.withResolvers<void>()
  await using server = await listening((socket) => {
    socket.on('data', (bytes: Buffer) => heard.push(bytes))
    socket.once('data', (bytes) => bytes.toString() === 'end' && socket.end(last))
    socket.on('close', () => ended.resolve())
  })
  const first = await dialled(sandbox.peer, { type: 'port', port: server.port })
  first.say(Buffer.from('end'))
  expect(await first.closed).toEqual({ code: channelClose.done, reason: '' })
  expect(first.bytes.equals(last)).toBe(true)
  await ended.promise

  heard.length = 0
  const gone = Promise.withResolvers<void>()
  ended.promise = gone.promise
  ended.resolve = gone.resolve
  const second = await dialled(sandbox.peer, { type: 'port', port: server.port })
  second.say(last)
  second.socket.close()
  await gone.promise
  expect(Buffer.concat(heard).equals(last)).toBe(true)
})

it('a server that does not read holds up the port, and nothing is lost', async () => {
  await using sandbox = await connected()
  const part = Buffer.alloc(MIB, 'x')
  const written: number[] = []
  await using server = await listening((socket) => {
    const nth = written.push(0) - 1
    const write = (): void => {
      for (let count = written[nth] ?? 0; count < 64; count++) {
        written[nth] = count + 1
        if (!socket.write(part)) return void socket.once('drain', write)
      }
      socket.end()
    }
    socket.once('data', write)
  })
  const channel = await dialled(sandbox.peer, { type: 'port', port: server.port })
  channel.say(Buffer.from('go'))
  channel.socket.pause()
  // While another one, begun later, gets all of it.
  const other = await dialled(sandbox.peer, { type: 'port', port: server.port })
  other.say(Buffer.from('go'))
  expect(await other.closed).toMatchObject({ code: channelClose.done })
  expect(other.bytes.length).toBe(64 * MIB)
  expect(written[0]).toBeLessThan(40)
  channel.socket.resume()
  expect(await channel.closed).toMatchObject({ code: channelClose.done })
  expect(channel.bytes.length).toBe(64 * MIB)
})

it('the helper saves what the session has, under its uid, and knows the second time what is unchanged', async () => {
  await using sandbox = await connected()
  const session = sandbox.session()
  put(session, 'a.txt', 'hello')
  put(session, 'large', randomBytes(9 * MIB + 1))
  const foreign = put(session, 'foreign', 'of root')
  if (isRoot) chownSync(foreign, 0, 0)
  await untilSteady()
  const first = await dialled(sandbox.peer, archiveJob(session))
  first.say(saving(session), { type: 'known_end' })
  expect(await first.closed).toEqual({ code: channelClose.done, reason: '' })
  expect(first.replies.at(-1)).toMatchObject({ type: 'saved', entries: 4, refused_count: 0 })
  expect(first.chunks).toHaveLength(12)

  const known = [...first.chunks, ...first.replies.flatMap((reply) => (reply.type === 'segment' ? [reply.text] : []))]
  const second = await dialled(sandbox.peer, archiveJob(session, true))
  second.say(saving(session), Buffer.from(known.map((one) => hash('sha256', one)).join(''), 'hex'), {
    type: 'known_end',
  })
  await second.closed
  expect(second.chunks).toEqual([])
  expect(second.replies.map(({ type }) => type)).toEqual(['known_segment', 'saved'])
})

it('writes and reads single files', async () => {
  await using sandbox = await connected()
  const session = sandbox.session()
  const path = join(session.config.cwd, 'deep/er/file.bin')
  const content = randomBytes(10 * MIB)
  const writing = await dialled(sandbox.peer, archiveJob(session))
  writing.say({ type: 'write', path, mode: 0o640 })
  for (let at = 0; at < content.length; at += 3 * MIB) writing.say(content.subarray(at, at + 3 * MIB))
  writing.say({ type: 'end' })
  expect(await writing.closed).toMatchObject({ code: channelClose.done })
  expect(writing.replies).toEqual([{ type: 'done' }])
  expect(readFileSync(path).equals(content)).toBe(true)
  const reading = await dialled(sandbox.peer, archiveJob(session))
  reading.say({ type: 'read', path, start: 5, length: null })
  await reading.closed
  expect(reading.bytes.equals(content.subarray(5))).toBe(true)
})

it.skipIf(!isRoot)('processes stand still while a frozen job lasts, and go on after it', async () => {
  await using sandbox = await connected()
  const session = sandbox.session()
  const log = put(session, 'log', '')
  using worker = running(session, '/bin/sh', '-c', 'while :; do echo x >>log; done')
  while (readFileSync(log).length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  const channel = await dialled(sandbox.peer, archiveJob(session, true))
  // The helper waits for its request: until then, and from before it, nothing moves.
  const pid = worker.pid ?? 0
  while (processOf(pid, session.config.uid)?.state !== 'T') await new Promise((resolve) => setTimeout(resolve, 5))
  const busy = await dialled(sandbox.peer, archiveJob(session, true))
  expect(await busy.closed).toMatchObject({ code: channelClose.busy })
  channel.say(saving(session), { type: 'known_end' })
  await channel.closed
  expect(channel.replies.at(-1)).toMatchObject({ type: 'saved' })
  const { length } = readFileSync(log)
  while (readFileSync(log).length === length) await new Promise((resolve) => setTimeout(resolve, 5))
})

it.skipIf(!isRoot)('a channel that breaks ends its helper, and the session goes on', async () => {
  await using sandbox = await connected()
  const session = sandbox.session()
  using worker = running(session, '/bin/sleep', '1000')
  const pid = worker.pid ?? 0
  const channel = await dialled(sandbox.peer, archiveJob(session, true))
  while (processOf(pid, session.config.uid)?.state !== 'T') await new Promise((resolve) => setTimeout(resolve, 5))
  expect(sandbox.processesOf(session).length).toBeGreaterThan(1)
  channel.socket.terminate()
  while (processOf(pid, session.config.uid)?.state === 'T' || helpersOf(sandbox, session).length > 0)
    await new Promise((resolve) => setTimeout(resolve, 5))
  expect(existsSync(`/proc/${pid}`)).toBe(true)
})

it.skipIf(!isRoot)('a helper that is killed is reported, and a runner that ends leaves nothing frozen', async () => {
  await using sandbox = await connected()
  const session = sandbox.session()
  mkdirSync(join(session.config.cwd, 'd'))
  using worker = running(session, '/bin/sleep', '1000')
  const pid = worker.pid ?? 0
  const isStopped = (): boolean => processOf(pid, session.config.uid)?.state === 'T'
  const killed = await dialled(sandbox.peer, archiveJob(session, true))
  while (!isStopped()) await new Promise((resolve) => setTimeout(resolve, 5))
  for (const helper of helpersOf(sandbox, session)) process.kill(helper, 'SIGKILL')
  expect(await killed.closed).toMatchObject({
    code: channelClose.job_failed,
    reason: expect.stringContaining('SIGKILL'),
  })
  expect(isStopped()).toBe(false)

  const left = await dialled(sandbox.peer, archiveJob(session, true))
  while (!isStopped()) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(await sandbox.stopRunner()).toBe(0)
  await left.closed
  expect(isStopped()).toBe(false)
  expect(helpersOf(sandbox, session)).toEqual([])
  const ended = once(worker, 'exit')
  process.kill(-pid, 'SIGKILL')
  await ended
})

function helpersOf(sandbox: TestSandbox, session: TestSession): number[] {
  return sandbox
    .processesOf(session)
    .filter((pid) => existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/cmdline`).includes('archiver.mjs'))
}
