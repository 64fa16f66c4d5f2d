import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { claimDataDir } from '@berth/server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dataDirectory, secretsOnDisk } from './disk.ts'
import { gatewayMemory, listening, modelAddress, waysOut } from './exposure.ts'
import { findRunning, type Running, type RunningProcess } from './running.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'posture-'))
})
afterEach(() => rm(dir, { recursive: true }))

const nothing: Running = { server: undefined, gateway: undefined }
const process4711: RunningProcess = { pid: 4711, listens: ['127.0.0.1:7071'], env: {}, coreLimit: '0' }

describe('the data directory', () => {
  it('is for its owner alone, or it is said', async () => {
    expect(await dataDirectory(dir)).toMatchObject({ level: 'ok' })
    expect(await dataDirectory(join(dir, 'absent'))).toMatchObject({ level: 'ok' })
    await chmod(dir, 0o750)
    expect(await dataDirectory(dir)).toMatchObject({ level: 'fail', detail: expect.stringContaining('0750') })
  })

  it('is not where others could put another in its place', async () => {
    await mkdir(join(dir, 'loose/data'), { recursive: true, mode: 0o700 })
    await chmod(join(dir, 'loose'), 0o777)
    expect(await dataDirectory(join(dir, 'loose/data'))).toMatchObject({
      level: 'fail',
      detail: expect.stringContaining('loose'),
    })
    await chmod(join(dir, 'loose'), 0o1777)
    expect(await dataDirectory(join(dir, 'loose/data'))).toMatchObject({ level: 'ok' })
  })

  it('has no key that others can read, whatever its own mode', async () => {
    expect(await secretsOnDisk(dir)).toMatchObject({ level: 'ok', detail: 'none' })
    await writeFile(join(dir, 'api-key'), 'x', { mode: 0o600 })
    await mkdir(join(dir, 'gateway/authority'), { recursive: true })
    expect(await secretsOnDisk(dir)).toMatchObject({ level: 'ok', detail: expect.stringContaining('api-key') })
    await writeFile(join(dir, 'gateway/authority/ca.pem'), 'x', { mode: 0o644 })
    expect(await secretsOnDisk(dir)).toMatchObject({
      level: 'fail',
      detail: expect.stringContaining('gateway/authority/ca.pem'),
      remedy: expect.stringContaining('chmod 600'),
    })
  })
})

it('sees what a running server really listens on', async () => {
  using _claim = await claimDataDir(dir)
  await using four = createServer().listen(0, '0.0.0.0')
  await using six = createServer().listen(0, '::1')
  await Promise.all([once(four, 'listening'), once(six, 'listening')])
  const { server, gateway } = await findRunning(dir)
  expect(gateway).toBeUndefined()
  expect(server?.pid).toBe(process.pid)
  expect(server?.listens).toContain(`0.0.0.0:${portOf(four)}`)
  expect(server?.listens).toContain(`[::1]:${portOf(six)}`)
  const { level, detail } = listening({ host: '127.0.0.1', port: 7071 }, { server, gateway })
  expect(level).toBe('warn')
  expect(detail).toContain(`0.0.0.0:${portOf(four)}`)
  expect(detail).not.toContain(`[::1]:${portOf(six)}`)
})

function portOf(server: ReturnType<typeof createServer>): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

it.each([
  ['127.0.0.1', 'ok'],
  ['127.8.8.8', 'ok'],
  ['::1', 'ok'],
  ['localhost', 'ok'],
  ['0.0.0.0', 'warn'],
  ['::', 'warn'],
  ['10.0.0.1', 'warn'],
  ['127.0.0.1.example', 'warn'],
])('listening on %s, where nothing runs yet: %s', (host, level) => {
  expect(listening({ host, port: 7071 }, nothing)).toMatchObject({ level })
})

it('listening for ports of sandboxes counts, too', () => {
  const ports = { listen: { host: '0.0.0.0', port: 7072 }, domain: 'ports.example' }
  expect(listening({ host: '127.0.0.1', port: 7071, ports }, nothing)).toMatchObject({ level: 'warn' })
})

describe('the gateway that runs is believed before the configuration', () => {
  const gateway = (env: Record<string, string>, coreLimit = '0'): Running => ({
    server: undefined,
    gateway: { ...process4711, env, coreLimit },
  })

  it('about ways out', () => {
    const opened = { BERTH_EGRESS_NETWORKS: '10.1.0.0/16' }
    expect(waysOut({ upstream: {} }, nothing)).toMatchObject({ level: 'ok' })
    expect(waysOut({ upstream: opened }, nothing)).toMatchObject({ level: 'warn' })
    expect(waysOut({ upstream: opened }, gateway({}))).toMatchObject({ level: 'ok' })
    const found = waysOut({ upstream: {} }, gateway(opened))
    expect(found).toMatchObject({ level: 'warn', detail: expect.stringContaining('10.1.0.0/16') })
  })

  it.each([
    ['https://api.anthropic.com', 'ok'],
    ['http://127.0.0.1:8080', 'ok'],
    ['http://models.example', 'warn'],
    ['nonsense', 'warn'],
  ])('about the model at %s', (url, level) => {
    const config = { model: 'anthropic', upstream: { ANTHROPIC_BASE_URL: 'https://api.anthropic.com' } } as const
    expect(modelAddress(config, gateway({ ANTHROPIC_BASE_URL: url }))).toMatchObject({ level })
  })

  it('about what a crash would leave of its memory', () => {
    expect(gatewayMemory(nothing)).toMatchObject({ level: 'ok' })
    expect(gatewayMemory(gateway({}))).toMatchObject({ level: 'ok' })
    expect(gatewayMemory(gateway({}, '1'))).toMatchObject({
      level: 'ok',
      detail: expect.stringContaining('no core dump'),
    })
    expect(gatewayMemory(gateway({}, 'unlimited'))).toMatchObject({ level: 'warn' })
  })
})
