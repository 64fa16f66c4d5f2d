/** What the driver and the runner's start cost, without a server. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostPrograms } from '@berth/cli/programs'
import { runnerEnv } from '@berth/protocol'
import { inside, openOciDriver, type SandboxDriver, type SandboxSpec } from '@berth/sandbox'
import { listenForRunner } from '@berth/server/engine/runner-listener'
import { runOciTrue, trueTemplate } from '../floors/oci-true.ts'
import { type Bench, interleave } from '../measure.ts'

interface Start {
  readonly launched: number
  readonly hello: number
  readonly destroyed: number
}

export const sandboxStart: Bench = {
  name: 'sandbox-start',
  about: "sandbox create → runner's hello; floor: the OCI runtime running `true` with the same spec",
  run: async ({ rounds }) => {
    const stateDir = await mkdtemp(join(tmpdir(), 'bs-'))
    await using opened = new AsyncDisposableStack()
    opened.defer(() => rm(stateDir, { recursive: true, force: true }))
    const driver = opened.use(await openOciDriver({ stateDir, ...hostPrograms() }))
    const starts: Start[] = []
    const floors: { runtime: number; everything: number }[] = []
    const first = await driver.create(specOf('sbx_first'))
    const template = await trueTemplate(stateDir, first)
    await driver.destroy(first.id)
    await interleave(rounds, [
      async () => void starts.push(await startOnce(driver, `sbx_${starts.length}`)),
      async () => void floors.push(await runOciTrue(template, `sbx_true_${floors.length}`)),
    ])
    const runtime = floors.map((one) => one.runtime)
    const everything = floors.map((one) => one.everything)
    return [
      {
        what: 'sandbox-start: create, floor: runtime',
        unit: 'ms',
        berth: starts.map((one) => one.launched),
        floor: runtime,
      },
      {
        what: "sandbox-start: create → runner's hello",
        unit: 'ms',
        berth: starts.map((one) => one.hello),
        floor: runtime,
        aim: { of: 'value', atMost: 120 },
      },
      {
        what: 'sandbox-start: create + destroy, floor: with disk',
        unit: 'ms',
        berth: starts.map((one) => one.launched + one.destroyed),
        floor: everything,
      },
    ]
  },
}

function specOf(id: string): SandboxSpec {
  const MiB = 1024 * 1024
  return {
    id,
    labels: {},
    limits: { cpus: 1, memoryBytes: 1024 * MiB, diskBytes: 5120 * MiB, pids: 512, files: 4096 },
    epoch: 1,
    until: new Date(Date.now() + 60_000),
    env: {
      [runnerEnv.sandboxId]: id,
      [runnerEnv.link]: `unix:${inside.link}`,
      [runnerEnv.nonce]: 'bench',
      [runnerEnv.claude]: inside.claude,
    },
    image: null,
  }
}

async function startOnce(driver: SandboxDriver, id: string): Promise<Start> {
  const began = performance.now()
  const ref = await driver.create(specOf(id))
  const launched = performance.now() - began
  if (ref.runDir === undefined || ref.uidBase === undefined) throw new Error('the sandbox is not on this machine')
  const said = Promise.withResolvers<number>()
  const listener = await listenForRunner(join(ref.runDir, 'link/link.sock'), ref.uidBase, {
    onLink: (socket) => void once(socket, 'message').then(() => said.resolve(performance.now() - began)),
    channel: () => undefined,
  })
  const hello = await said.promise
  const ending = performance.now()
  await driver.destroy(id)
  const destroyed = performance.now() - ending
  await listener[Symbol.asyncDispose]()
  return { launched, hello, destroyed }
}
