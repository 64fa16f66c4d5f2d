import type { Finding } from '../../driver.ts'
import type { OciOptions } from '../options.ts'
import { findRuntime } from '../runtime.ts'
import { hostFindings } from './host.ts'
import { proveSandbox } from './prove-sandbox.ts'
import { runtimeFinding } from './runtime-finding.ts'

/**
 * How well this machine isolates sandboxes: what its runtime and kernel say of themselves, and what a sandbox that is started for it is
 * really held by. Takes a second or two. One finding for each of `hostNames` and `sandboxNames`, in that order.
 */
export async function ociPosture(options: OciOptions, signal: AbortSignal): Promise<Finding[]> {
  const wanted = options.runtime ?? 'auto'
  const [runtime, host, sandbox] = await Promise.all([
    findRuntime(wanted).then((found) => runtimeFinding(found, wanted)),
    hostFindings(new Date()),
    proveSandbox(options, signal),
  ])
  return [runtime, ...host, ...sandbox]
}
