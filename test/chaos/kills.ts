/** One way to strike per kind. Each answers whether there was something to strike. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inside } from '@berth/sandbox'
import type { ServerProcess } from '../harness/berth-server.ts'
import { type HostProcess, SessionSandbox } from '../harness/session-sandbox.ts'
import type { TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import type { LinkCutter } from './link-cutter.ts'
import type { Kill, KillKind } from './plan.ts'
import { hasSandbox, type SessionRecord } from './recorder.ts'

export interface Field {
  readonly berth: TestBerth<ServerProcess>
  readonly cutter: LinkCutter
  readonly record: SessionRecord
  readonly kill: Kill
  readonly signal: AbortSignal
}

/** A sandbox that is being made is waited for as long. */
const PATIENCE_MS = 15_000

export const strike: Readonly<Record<KillKind, (field: Field) => Promise<boolean>>> = {
  async server({ berth, kill, signal }) {
    await berth.server.kill()
    await sleep(kill.extent, undefined, { signal })
    await berth.server.restart()
    return true
  },

  async gateway({ berth, signal }) {
    const running = await waitUntil('the gateway runs', () => berth.traces.gateway(), patience(signal)).catch(
      () => undefined,
    )
    return running !== undefined && end(running.pid, 'SIGKILL')
  },

  runner: (field) =>
    inSandbox(field, async (sandbox) => {
      const processes = await sandbox.processes()
      const runner = processes.find(({ args }) => args[0] === inside.node && args.includes(inside.runner))
      if (runner === undefined) return false
      await inStandstill(sandbox, field.record, () => end(runner.pid, 'SIGKILL'))
      return true
    }),

  cli: (field) =>
    inSandbox(field, async (sandbox) => {
      const processes = await sandbox.processes()
      const cli = processes.find(({ args }) => args[0] === inside.claude)
      return cli !== undefined && end(cli.pid, 'SIGKILL')
    }),

  sandbox: (field) =>
    inSandbox(field, async (sandbox) => {
      const pid = await sandbox.shimPid()
      return inStandstill(sandbox, field.record, () => end(pid, 'SIGKILL'))
    }),

  disk: (field) =>
    inSandbox(field, async (sandbox) => {
      const pid = await sandbox.shimPid()
      const disk = join(field.berth.traces.stateDir, sandbox.ref.id, 'disk.img')
      return inStandstill(sandbox, field.record, async () => {
        // Under its mount, which goes with the sandbox.
        await rm(disk)
        return end(pid, 'SIGKILL')
      })
    }),

  async outage(field) {
    const { berth, kill, signal } = field
    await berth.server.kill()
    try {
      await sleep(kill.extent, undefined, { signal })
      return await strike.sandbox(field)
    } finally {
      await berth.server.restart()
    }
  },

  link: (field) =>
    inSandbox(field, (sandbox) => field.cutter.cut(sandbox.ref.id, field.kill.extent, AbortSignal.timeout(2_000))),
}

async function inSandbox(field: Field, act: (sandbox: SessionSandbox) => Promise<boolean>): Promise<boolean> {
  const { berth, record, signal } = field
  try {
    await waitUntil('there is a sandbox', () => hasSandbox(berth, record.id), patience(signal))
    return await act(await SessionSandbox.of(berth.traces, record.id))
  } catch {
    signal.throwIfAborted()
    // It went away meanwhile, or is only just being made.
    return false
  }
}

/** With the disk go the effects: they are read while nothing in the sandbox can add to them. */
async function inStandstill(
  sandbox: SessionSandbox,
  record: SessionRecord,
  act: () => boolean | Promise<boolean>,
): Promise<boolean> {
  const stopped: HostProcess[] = []
  try {
    // Twice: what was being started the first time stands there the second time.
    for (let round = 0; round < 2; round++) {
      for (const process of await sandbox.processes()) {
        if (end(process.pid, 'SIGSTOP')) stopped.push(process)
      }
    }
    await record.readEffects(sandbox)
    return await act()
  } finally {
    for (const { pid } of stopped) end(pid, 'SIGCONT')
  }
}

function patience(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)])
}

/** Answers false when the process has ended meanwhile. */
function end(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
