import { open as openFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DriverUnderTest, OpenInput } from '../conformance/index.ts'
import type { SandboxDriver } from '../driver.ts'
import { cgroupPids, readCgroups } from './cgroup.ts'
import { openOciDriver } from './driver.ts'
import { leftoversOf } from './leftovers.ts'
import { killProcess } from './process-identity.ts'
import { sandboxFiles } from './sandbox-files.ts'

/** Opens the driver with one runtime. The places of the CLI and the archiver are taken by Node: the suite never starts them. */
function open(runtime: string, { stateDir, runner }: OpenInput): Promise<SandboxDriver> {
  const program = process.execPath
  return openOciDriver({ stateDir, runtime, runner, node: program, claude: program, archiver: program })
}

export const openCrun = (input: OpenInput): Promise<SandboxDriver> => open('/usr/bin/crun', input)
export const openRunc = (input: OpenInput): Promise<SandboxDriver> => open('/usr/sbin/runc', input)

/** The driver as the conformance suite takes it. */
export function ociUnderTest(runtime: 'crun' | 'runc'): DriverUnderTest {
  return {
    open: runtime === 'crun' ? openCrun : openRunc,
    openIn: { module: import.meta.url, export: runtime === 'crun' ? 'openCrun' : 'openRunc' },
    crash: async ({ stateDir }, { id }) => {
      const shim = await sandboxFiles.readShim(join(stateDir, id))
      if (shim !== undefined) await killProcess(shim)
    },
    damage: async ({ stateDir }, { id }) => {
      await using disk = await openFile(join(stateDir, id, 'disk.img'), 'r+')
      // All copies of the superblock, and everything between them.
      const { size } = await disk.stat()
      await disk.truncate(0)
      await disk.truncate(size)
    },
    processes: async (_input, { id }) => (await cgroupPids(await readCgroups(), id)).length,
    leftovers: ({ stateDir }, ids) => leftoversOf(stateDir, ids),
  }
}
