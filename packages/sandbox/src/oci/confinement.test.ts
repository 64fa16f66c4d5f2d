import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Bench } from '../conformance/context.ts'
import { openOciDriver } from './driver.ts'
import { ociUnderTest } from './oci-under-test.ts'

const crun = ociUnderTest('crun')
const node = process.execPath

/** Runtimes that leave out a part of what they are told, each by a change of the configuration, and what is said of them. */
const weak = {
  's/"seccomp":{.*},"maskedPaths"/"maskedPaths"/': 'without a seccomp filter',
  's/"noNewPrivileges":true/"noNewPrivileges":false/': 'with a way to new privileges',
  's/"CAP_KILL"/"CAP_KILL","CAP_SYS_ADMIN"/g': 'with the capabilities CapBnd',
  's/{"type":"network"},//': 'without a network namespace of its own',
  's/{"type":"ipc"},//': 'without a ipc namespace of its own',
  's#"cgroupsPath":"\\([^"]*\\)"#"cgroupsPath":"\\1/inner"#': 'without its cgroup',
}

it.skipIf(process.getuid?.() !== 0)(
  'a runtime that confines less than it is told to is refused, and leaves nothing',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'weak-'))
    try {
      const refusals = Object.entries(weak).map(async ([change, lack], index) => {
        const runtime = join(dir, String(index))
        const script = `#!/bin/sh\ncase "$*" in *' run '*) sed -i '${change}' config.json;; esac\nexec /usr/bin/crun "$@"\n`
        await writeFile(runtime, script, { mode: 0o755 })
        await using bench = await Bench.open({
          ...crun,
          open: ({ stateDir, runner }) =>
            openOciDriver({ stateDir, runtime, runner, node, claude: node, archiver: node }),
        })
        await expect(bench.driver.create(bench.spec())).rejects.toMatchObject({
          code: 'unavailable',
          message: expect.stringContaining(lack),
        })
        expect(await bench.leftovers()).toEqual([])
      })
      await Promise.all(refusals)
    } finally {
      await rm(dir, { recursive: true })
    }
  },
)
