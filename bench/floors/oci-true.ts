/** The OCI runtime running `true` with the spec of a real sandbox, with and without its disk and the removal of everything. */
import { execFile } from 'node:child_process'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hostPrograms } from '@berth/cli/programs'
import type { SandboxSpec } from '@berth/sandbox'
import { layout, ROOT_MOUNT_POINT } from '@berth/sandbox/oci/layout'
import { findMachine } from '@berth/sandbox/oci/machine'
import { makeDirectory } from '@berth/sandbox/oci/making'
import { optionPaths } from '@berth/sandbox/oci/options'
import { UidSlots } from '@berth/sandbox/oci/uid-slots'
import { z } from 'zod'

const script = fileURLToPath(new URL('./oci-true.sh', import.meta.url))
const ociConfig = z.looseObject({ process: z.looseObject({ args: z.array(z.string()) }) })

/** Milliseconds. */
export interface OciTrue {
  readonly runtime: number
  readonly everything: number
}

/** Below the state directory of an open driver, whose skeleton it uses. */
export async function runOciTrue(stateDir: string, spec: SandboxSpec): Promise<OciTrue> {
  const settings = optionPaths.parse({ stateDir, ...hostPrograms() })
  const machine = await findMachine('auto')
  const at = layout(stateDir)
  const slots = new UidSlots(at.slots)
  const making = { settings, layout: at, slots, machine, now: Date.now() }
  const made = await makeDirectory(making, spec)
  if (made === undefined) throw new Error(`${spec.id} exists`)
  const dir = at.sandbox(spec.id)
  const config = ociConfig.parse(JSON.parse(await readFile(join(dir, 'config.json'), 'utf8')))
  config.process.args = ['/usr/bin/true']
  await writeFile(join(dir, 'config.json'), JSON.stringify(config))
  const hide = machine.runtime.name === 'crun' ? (machine.cgroups.unified ?? '') : ''
  const [layer = ''] = made.layers
  const args = [machine.runtime.path, at.runtime, spec.id, layer, ROOT_MOUNT_POINT, String(made.uidBase), hide]
  const unshare = ['--mount', '--propagation', 'slave', '/bin/bash', script, ...args]
  const { stdout } = await promisify(execFile)('unshare', unshare, { cwd: dir })
  await slots.release(dir)
  const dead = at.draft('dead', spec.id, machine.self)
  await rename(dir, dead)
  await rm(dead, { recursive: true })
  const [runtime = Number.NaN, everything = Number.NaN] = stdout.trim().split(' ').map(Number)
  return { runtime: runtime / 1000, everything: everything / 1000 }
}
