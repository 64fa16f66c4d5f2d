import type { Finding } from '@berth/sandbox'
import { hostNames, sandboxNames } from '@berth/sandbox/oci/posture/names'
import { ociPosture } from '@berth/sandbox/oci/posture/posture'
import { ociOptions } from '../programs.ts'
import type { StartConfig } from '../start.ts'
import { dataDirectory, secretsOnDisk } from './disk.ts'
import { gatewayMemory, listening, modelAddress, waysOut } from './exposure.ts'
import { installationNames } from './names.ts'
import { findRunning } from './running.ts'

const PROOF_MS = 45_000

/** The names of all findings of `securityFindings`, in their order. */
export const securityNames = [...hostNames, ...sandboxNames, ...installationNames] as const

/** How secure this installation is on this machine. Starts a sandbox of its own and ends it; changes nothing else. */
export async function securityFindings(config: StartConfig): Promise<Finding[]> {
  const [host, running, data, secrets] = await Promise.all([
    ociPosture(ociOptions(config), AbortSignal.timeout(PROOF_MS)),
    findRunning(config.dataDir),
    dataDirectory(config.dataDir),
    secretsOnDisk(config.dataDir),
  ])
  const exposed = [
    listening(config, running),
    waysOut(config, running),
    modelAddress(config, running),
    gatewayMemory(running),
  ]
  return [...host, data, secrets, ...exposed]
}
