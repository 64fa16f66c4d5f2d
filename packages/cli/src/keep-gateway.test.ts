import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlSocket } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { keepGateway } from './keep-gateway.ts'

const patient = { timeout: 60_000 }
const logger = pino({ enabled: false })
const signal = new AbortController().signal

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bk-'))
})
afterEach(async () => {
  const client = openGatewayClient(controlSocket(directory))
  const pid = await pidOf()
  await client.shutdown()
  await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'), patient)
  await rm(directory, { recursive: true, force: true })
})

const options = () => ({
  state: directory,
  node: process.execPath,
  env: { ANTHROPIC_BASE_URL: 'http://127.0.0.1:9', ANTHROPIC_API_KEY: 'k' },
})
const pidOf = async () => (await openGatewayClient(controlSocket(directory)).health()).pid
const other = (than: number) =>
  vi.waitFor(async () => {
    const pid = await pidOf()
    expect(pid).not.toBe(than)
    return pid
  }, patient)

test('replaces one that is killed, its own or another’s, as often as that happens', async () => {
  let pid: number
  {
    await using first = await keepGateway(options(), { logger, signal })
    expect(first.started).toBe(true)
    const killed = await pidOf()
    process.kill(killed, 'SIGKILL')
    pid = await other(killed)
  }
  {
    await using second = await keepGateway(options(), { logger, signal })
    expect(second.started).toBe(false)
    for (let n = 0; n < 2; n++) {
      process.kill(pid, 'SIGKILL')
      pid = await other(pid)
    }
  }
})

test('one that ends when it is told to is replaced, too', async () => {
  await using _keeper = await keepGateway(options(), { logger, signal })
  const first = await pidOf()
  await openGatewayClient(controlSocket(directory)).shutdown()
  await other(first)
})
