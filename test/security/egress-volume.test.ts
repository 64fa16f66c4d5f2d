/** An agent that sends all it can to a host that it may reach: its share goes through, to the byte, and not once more after a restart. */
import { controlSocket } from '@berth/gateway'
import { type ByteSink, startByteSink } from '@berth/gateway/fixture/byte-sink'
import { ownLoopback } from '@berth/gateway/fixture/egress-world'
import { startStubDns } from '@berth/gateway/fixture/stub-dns'
import { egressPage, type EgressPage } from '@berth/protocol/api/egress'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { tool } from '../harness/message.ts'
import { onlyOf, textOf } from '../harness/reading.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { bringing } from './bringing.ts'
import { Tally } from './tally.ts'

const LIMIT = 10_000_000
/** That a gateway may forget when it is killed. */
const FORGOTTEN = 4.5 * 2 ** 20

const tally = new Tally('bytes that leave')
let held: AsyncDisposableStack
let berth: TestBerth
let sinks: readonly ByteSink[]
let id: string

beforeAll(async () => {
  await using opened = new AsyncDisposableStack()
  const address = ownLoopback(1)
  sinks = [opened.use(await startByteSink(address, 80)), opened.use(await startByteSink(address, 443))]
  const dns = opened.use(await startStubDns(() => [address]))
  const env = {
    BERTH_EGRESS_DNS: dns.server,
    BERTH_EGRESS_NETWORKS: address,
    BERTH_EGRESS_UPLOAD_LIMIT: '10MB',
  }
  berth = opened.use(await startTestBerth({ env }))
  const networking = { type: 'limited' as const, allowed_hosts: ['sink.test'] }
  const environment = await berth.createEnvironment({ config: { type: 'cloud', networking } })
  ;({ id } = await berth.createSession({ environment_id: environment.id }))
  await berth.runTurn(id, ['Keep', ...(await bringing(['upload.py'], '/workspace'))])
  held = opened.move()
}, 120_000)
afterAll(async () => {
  await held.disposeAsync()
  tally.end()
})

/** Of a request that was cut while it was sent, it may get lost. */
const refusal = /^HTTP\/1\.1 403[^]*x-berth-egress: upload_limit[^]*10000000 bytes/

const arrived = (): number => sinks.reduce((sum, sink) => sum + sink.bytes(), 0)

/** How each way has ended. */
async function upload(given: { bytes: number; tunnels: number; requests: number }): Promise<string[]> {
  const command = `python3 /workspace/upload.py sink.test ${given.bytes} ${given.tunnels} ${given.requests}`
  const turn = await berth.runTurn(id, ['Send', tool('Bash', { command, timeout: 110_000 })])
  return z.array(z.string()).parse(JSON.parse(textOf(onlyOf(turn, 'agent.tool_result').content)))
}

async function record(): Promise<EgressPage> {
  return egressPage.parse(await (await berth.fetch(`/berth/v1/sessions/${id}/egress?limit=100`)).json())
}

test('what leaves is counted as the host counts it, also by the next gateway, and ends at the limit', async () => {
  expect(await upload({ bytes: 1_500_000, tunnels: 4, requests: 0 })).toEqual(Array(4).fill('all went'))
  const counted = (await record()).bytes_sent
  tally.expectAll({ 'counted, of what has come': counted / arrived() }, { 'counted, of what has come': 1 })
  expect(counted).toBeGreaterThan(6_000_000)

  const gateway = openGatewayClient(controlSocket(join(berth.dir, 'gateway')))
  const { pid } = await gateway.health()
  process.kill(pid, 'SIGKILL')
  await waitUntil('there is another gateway', async () => {
    const health = await gateway.health().catch(() => undefined)
    return health !== undefined && health.pid !== pid
  })
  const { bytes_sent: remembered } = await record()
  tally.expectAll({ remembered: remembered <= counted && remembered >= counted - FORGOTTEN }, { remembered: true })

  // Each of them alone would be too much.
  const ends = await upload({ bytes: LIMIT, tunnels: 4, requests: 2 })
  tally.expectAll(
    {
      tunnels: ends.slice(0, 4).every((end) => end === 'cut' || refusal.test(end)),
      requests: ends.slice(4).every((end) => end === '' || refusal.test(end)),
      'forgotten bytes': arrived() - LIMIT === counted - remembered,
    },
    { tunnels: true, requests: true, 'forgotten bytes': true },
  )
  const { bytes_sent, data } = await record()
  expect(bytes_sent).toBe(LIMIT)
  expect(data.some(({ decision, reason }) => decision === 'deny' && reason === 'upload_limit')).toBe(true)

  const later = await upload({ bytes: 1, tunnels: 2, requests: 2 })
  const refused: unknown = expect.stringMatching(refusal)
  for (const end of later) tally.expectAll({ later: end }, { later: refused })
  expect(arrived()).toBe(LIMIT + counted - remembered)
}, 240_000)
