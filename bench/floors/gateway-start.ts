/** A gateway with nothing to do: from the start of its process to its first answer. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostPrograms } from '@berth/cli/programs'
import { spawnGateway } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'

/** Milliseconds. Leaves nothing. */
export async function timeGatewayStart(modelUrl: string): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'bg-'))
  const env = { ANTHROPIC_BASE_URL: modelUrl, ANTHROPIC_API_KEY: 'none' }
  const began = performance.now()
  const { controlSocket } = await spawnGateway({ state: join(dir, 'state'), env, node: hostPrograms().node })
  const ms = performance.now() - began
  await openGatewayClient(controlSocket).shutdown()
  await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  return ms
}
