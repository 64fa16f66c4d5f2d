/** The OCI runtime running `true` with the spec of a real sandbox, with and without its disk and the removal of everything. */
import { execFile } from 'node:child_process'
import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { SandboxRef } from '@berth/sandbox'
import { layout } from '@berth/sandbox/oci/layout'
import { findMachine } from '@berth/sandbox/oci/machine'
import { ensureSkeleton } from '@berth/sandbox/oci/skeleton'
import { z } from 'zod'

const script = fileURLToPath(new URL('./oci-true.sh', import.meta.url))
const ociConfig = z.looseObject({
  root: z.looseObject({ path: z.string() }),
  process: z.looseObject({ args: z.array(z.string()) }),
})

/** Milliseconds. */
export interface OciTrue {
  readonly runtime: number
  readonly everything: number
}

/** What the runs of `true` are made from. */
export interface TrueTemplate {
  readonly stateDir: string
  readonly config: string
  readonly sandboxId: string
  readonly uidBase: number
  readonly skeleton: string
  readonly mountPoint: string
}

/** Takes everything from a sandbox of the driver while it lives. */
export async function trueTemplate(stateDir: string, { id, uidBase }: SandboxRef): Promise<TrueTemplate> {
  if (uidBase === undefined) throw new Error('the sandbox is not on this machine')
  const config = ociConfig.parse(JSON.parse(await readFile(join(stateDir, id, 'config.json'), 'utf8')))
  config.process.args = ['/usr/bin/true']
  return {
    stateDir,
    config: JSON.stringify(config),
    sandboxId: id,
    uidBase,
    skeleton: await ensureSkeleton(layout(stateDir).skeletons, []),
    mountPoint: config.root.path,
  }
}

/** Leaves nothing. */
export async function runOciTrue(template: TrueTemplate, id: string): Promise<OciTrue> {
  const { stateDir, config, sandboxId, uidBase, skeleton, mountPoint } = template
  const dir = join(stateDir, `.${id}`)
  const owned = ['seed/workspace', 'seed/home', 'seed/outputs', 'run/link', 'run/gw']
  for (const name of [...owned, 'disk']) await mkdir(join(dir, name), { recursive: true })
  for (const name of owned) await chown(join(dir, name), uidBase, uidBase)
  const ours = config.replaceAll(join(stateDir, sandboxId), dir).replaceAll(sandboxId, id)
  await writeFile(join(dir, 'config.json'), ours)
  const disk = join(dir, 'disk.img')
  await promisify(execFile)('truncate', ['--size', '5G', disk])
  const { runtime, cgroups } = await findMachine('auto')
  const hide = runtime.name === 'crun' ? (cgroups.unified ?? '') : ''
  const args = [runtime.path, join(stateDir, '.floor'), id, skeleton, mountPoint, String(uidBase), hide]
  const unshare = ['--mount', '--propagation', 'slave', '/bin/bash', script, ...args]
  const { stdout } = await promisify(execFile)('unshare', unshare, { cwd: dir })
  await rm(dir, { recursive: true })
  const [alone = Number.NaN, everything = Number.NaN] = stdout.trim().split(' ').map(Number)
  return { runtime: alone / 1000, everything: everything / 1000 }
}
