/** A Berth, and a host of the web beside it that is an MCP server of the test's own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates } from '../../packages/gateway/src/fixture/certificates.ts'
import { ownLoopback } from '../../packages/gateway/src/fixture/egress-world.ts'
import { startStubDns } from '../../packages/gateway/src/fixture/stub-dns.ts'
import { McpPeer } from '../../packages/runner/src/testing/mcp-peer.ts'
import { startTestBerth, type TestBerth } from './test-berth.ts'

export interface McpBerth extends AsyncDisposable {
  readonly berth: TestBerth
  /** Behind `https://{host}/{server}`. */
  readonly peer: McpPeer
}

export async function startMcpBerth(hosts: readonly string[]): Promise<McpBerth> {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'mc-'))
  opened.defer(() => rm(dir, { recursive: true }))
  const certificates = await makeCertificates(dir, hosts)
  const address = ownLoopback(7)
  const peer = opened.use(await McpPeer.listenTls(certificates, address))
  const dns = opened.use(await startStubDns(() => [address]))
  const env = {
    BERTH_EGRESS_DNS: dns.server,
    BERTH_EGRESS_NETWORKS: address,
    BERTH_EGRESS_CA_FILE: certificates.ca,
  }
  const berth = opened.use(await startTestBerth({ env }))
  const held = opened.move()
  return { berth, peer, [Symbol.asyncDispose]: () => held.disposeAsync() }
}
