/**
 * How long a sandbox takes from `create` to its runner's process, and from `destroy` to nothing, beside the floor: the OCI runtime's
 * own `--version`, the cheapest thing it can do.   node bench/sandbox-create.ts [rounds] [runtime]
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openOciDriver } from '../packages/sandbox/src/index.ts'

const [rounds, runtime] = [Number(process.argv[2] ?? 30), process.argv[3] ?? '/usr/bin/crun']
const dir = await mkdtemp(join(tmpdir(), 'bench-'))
const runner = join(dir, 'runner.mjs')
await writeFile(runner, 'setInterval(() => {}, 60_000)')

const times: Record<string, number[]> = { floor: [], create: [], get: [], destroy: [] }
async function timed(name: string, task: () => Promise<unknown>): Promise<void> {
  const started = performance.now()
  await task()
  times[name]?.push(performance.now() - started)
}

{
  await using driver = await openOciDriver({
    stateDir: join(dir, 's'),
    runtime,
    node: process.execPath,
    claude: process.execPath,
    archiver: process.execPath,
    runner,
  })
  for (let round = -1; round < rounds; round++) {
    const id = `sbx_${round + 1}`
    const limits = { cpus: 1, memoryBytes: 2 ** 30, diskBytes: 5 * 2 ** 30, pids: 512, files: 4096 }
    const until = new Date(Date.now() + 3_600_000)
    await timed('floor', () => promisify(execFile)(runtime, ['--version']))
    await timed('create', () => driver.create({ id, epoch: 1, labels: {}, limits, until, env: {}, image: null }))
    await timed('get', () => driver.get(id))
    await timed('destroy', () => driver.destroy(id))
    // The first round also builds the skeleton.
    if (round === -1) for (const list of Object.values(times)) list.length = 0
  }
}
await rm(dir, { recursive: true })

for (const [name, list] of Object.entries(times)) {
  const sorted = list.sort((a, b) => a - b)
  const at = (share: number): string => (sorted[Math.floor((sorted.length - 1) * share)] ?? NaN).toFixed(1)
  console.log(`${name.padEnd(8)} p50 ${at(0.5)} ms   p95 ${at(0.95)} ms   min ${at(0)} ms`)
}
