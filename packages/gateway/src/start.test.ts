import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeRoute, temporary } from './fixture/running-gateway.ts'
import { call } from './fixture/sandbox-call.ts'
import { answerShortly, startUpstream } from './fixture/upstream-server.ts'
import { spawnGateway } from './start.ts'

let directory: Awaited<ReturnType<typeof temporary>>
let state: string

beforeEach(async () => {
  directory = await temporary()
  state = join(directory.path, 'state')
})
afterEach(async () => {
  const client = openGatewayClient(join(state, 'control.sock'))
  await client.shutdown().catch(() => undefined)
  await expect
    .poll(
      () =>
        client.health().then(
          () => 'up',
          () => 'down',
        ),
      { timeout: 15_000 },
    )
    .toBe('down')
  await directory[Symbol.asyncDispose]()
})

test('starts one, finds it again, and replaces it when the settings differ, with its sessions', async () => {
  await using upstream = await startUpstream(answerShortly)
  const options = {
    state,
    node: process.execPath,
    env: { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'k-one-1' },
  }
  const first = await spawnGateway(options)
  expect(first.started).toBe(true)
  const client = openGatewayClient(first.controlSocket)
  expect((await client.health()).pid).toBe(first.pid)
  const route = await makeRoute(directory.path, 's')
  await client.route('s', route)
  expect(await spawnGateway(options)).toEqual({ ...first, started: false })
  const second = await spawnGateway({ ...options, env: { ...options.env, ANTHROPIC_API_KEY: 'k-two-2' } })
  expect(second.started).toBe(true)
  expect(second.pid).not.toBe(first.pid)
  expect(() => process.kill(first.pid, 0)).toThrow('ESRCH')
  expect((await call({ socket: route.socket_path })).status).toBe(200)
  expect(upstream.received[0]?.headers['x-api-key']).toBe('k-two-2')
  const log = await readFile(join(state, 'gateway.log'), 'utf8')
  expect(log).toContain('"ready":true')
  expect(log).not.toContain('k-one-1')
})

test('says why it did not start', async () => {
  const env = { ANTHROPIC_BASE_URL: 'http://x' }
  await mkdir(state)
  await writeFile(join(state, 'ledger.db'), 'no database at all, but long enough to look like a file '.repeat(50))
  await expect(spawnGateway({ state, node: process.execPath, env })).rejects.toThrow(/did not start.*not a database/s)
  await expect(spawnGateway({ state, node: process.execPath, env: { ANTHROPIC_BASE_URL: 'x' } })).rejects.toThrow(
    'ANTHROPIC_BASE_URL',
  )
  await expect(spawnGateway({ state: `${state}2`, node: '/nonexistent/node', env })).rejects.toThrow('did not start')
})
