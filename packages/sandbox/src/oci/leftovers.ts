import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CGROUP_PARENT, readCgroups } from './cgroup.ts'
import { layout } from './layout.ts'
import { loopDevicesOf } from './loop-devices.ts'

/** Everything of these sandboxes that this machine still has: processes, mounts, loop devices, cgroups, files, uid ranges. */
export async function leftoversOf(stateDir: string, ids: readonly string[]): Promise<string[]> {
  const at = layout(stateDir)
  const names = (await readdir(stateDir)).filter(
    (name) => !['.slots', '.skeletons', '.empty', '.runtime'].includes(name),
  )
  return [
    ...names.map((name) => `file ${name}`),
    ...(await entries(at.slots)).map((name) => `uid range ${name}`),
    ...(await entries(at.runtime)).map((name) => `runtime state ${name}`),
    ...(await linesWith('/proc/mounts', stateDir)).map((line) => `mount ${line}`),
    ...(await loopDevicesOf('/disk.img', stateDir)).map((name) => `loop device ${name}`),
    ...(await cgroupsOf(ids)),
    ...(await processesOf(stateDir)),
  ]
}

async function cgroupsOf(ids: readonly string[]): Promise<string[]> {
  const { mounts } = await readCgroups()
  const found = await Promise.all(mounts.map((mount) => entries(join(mount, CGROUP_PARENT))))
  return found.flatMap((names, index) =>
    names.filter((name) => ids.includes(name)).map((name) => `cgroup ${mounts[index]}/${name}`),
  )
}

/** Shims carry the directory in their environment, the sandboxes' own processes see it as the root of a mount. */
async function processesOf(stateDir: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
  const found = await Promise.all(
    pids.map(async (pid) => {
      const shim = (await linesWith(`/proc/${pid}/environ`, `BERTH_DIR=${stateDir}/`)).length > 0
      const inSandbox = (await linesWith(`/proc/${pid}/mountinfo`, `${stateDir}/`)).length > 0
      return shim || inSandbox
        ? [`process ${pid} ${(await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'gone')).trim()}`]
        : []
    }),
  )
  return found.flat()
}

async function linesWith(path: string, text: string): Promise<string[]> {
  const content = await readFile(path, 'utf8').catch(() => '')
  return content.split('\n').filter((line) => line.includes(text))
}

function entries(dir: string): Promise<string[]> {
  return readdir(dir).catch(() => [])
}
