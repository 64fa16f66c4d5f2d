/** A gateway of its own, with one session that has a secret for one of two hosts and a way to a model. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnGateway } from '@berth/gateway'
import { makeCertificates } from '@berth/gateway/fixture/certificates'
import { ownLoopback } from '@berth/gateway/fixture/egress-world'
import { sealedVault } from '@berth/gateway/fixture/sealed-vault'
import { startStubDns } from '@berth/gateway/fixture/stub-dns'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { Sealing } from '@berth/protocol/sealing'

export const BOUND = 'bound.test'
export const UNBOUND = 'unbound.test'
export const placeholder = 'berth_placeholder_of_the_bench'
export const credential = 'c'.repeat(43)

export interface SecretRoute extends AsyncDisposable {
  readonly address: string
  readonly keyFile: string
  readonly certFile: string
  /** Of the host itself. */
  readonly hostCa: string
  /** As which the gateway speaks for it. */
  readonly gatewayCa: string
  readonly gatewayPid: number
  readonly egressSocket: string
  readonly modelSocket: string
}

export async function openSecretRoute(modelUrl: string, signal: AbortSignal): Promise<SecretRoute> {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'bs-'))
  opened.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
  const address = ownLoopback()
  const { ca } = await makeCertificates(dir, [BOUND, UNBOUND])
  const dns = opened.use(await startStubDns(() => [address]))
  const key = randomBytes(32)
  await writeFile(join(dir, 'vault.key'), key.toString('base64'), { mode: 0o600 })
  const env = {
    ANTHROPIC_BASE_URL: modelUrl,
    ANTHROPIC_API_KEY: 'none',
    BERTH_EGRESS_DNS: dns.server,
    BERTH_EGRESS_NETWORKS: address,
    BERTH_EGRESS_CA_FILE: ca,
    BERTH_VAULT_KEY_FILE: join(dir, 'vault.key'),
  }
  const spawned = await spawnGateway({ state: join(dir, 'state'), env, node: process.execPath, signal })
  const client = openGatewayClient(spawned.controlSocket)
  opened.defer(() => client.shutdown())
  await mkdir(join(dir, 'gw'))
  const [egressSocket, modelSocket] = [join(dir, 'gw/egress.sock'), join(dir, 'gw/model.sock')]
  const place = { vaultId: 'vlt_bench', workspaceId: 'bench' }
  const variable = { name: 'TOKEN', value: randomBytes(30).toString('base64url'), hosts: [BOUND] }
  await client.putVault(place.vaultId, sealedVault(new Sealing(key), place, [variable]))
  const owner_uid = process.getuid?.() ?? 0
  await client.route('sesn_bench', {
    agent_id: 'agent',
    budget: null,
    workspace_id: place.workspaceId,
    socket_path: modelSocket,
    owner_uid,
    models: null,
    server_tools: [],
    vaults: [place.vaultId],
    egress: {
      socket_path: egressSocket,
      owner_uid,
      credential,
      policy: { type: 'limited', hosts: [BOUND, UNBOUND] },
      placeholders: [{ secret_name: 'TOKEN', placeholder }],
    },
  })
  const { certificate: gatewayCa } = await client.authority()
  const owned = opened.move()
  return {
    address,
    egressSocket,
    modelSocket,
    gatewayCa,
    hostCa: await readFile(ca, 'utf8'),
    gatewayPid: spawned.pid,
    keyFile: join(dir, 'leaf.key'),
    certFile: join(dir, 'leaf.pem'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
