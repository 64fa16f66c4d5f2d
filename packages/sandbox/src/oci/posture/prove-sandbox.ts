import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isBerthError } from '@berth/protocol'
import { z } from 'zod'
import type { Finding, SandboxRef, SandboxSpec } from '../../driver.ts'
import { fail } from '../../finding.ts'
import { callProgram, int80Program, isProbeArch, refusedCalls } from '../../system-calls.ts'
import { readCgroups } from '../cgroup.ts'
import { openOciDriver } from '../driver.ts'
import type { OciOptions } from '../options.ts'
import { namespacesOf } from '../process-facts.ts'
import { judgeSandbox } from './judge-sandbox.ts'
import { sandboxNames } from './names.ts'
import { readSandboxFacts } from './sandbox-facts.ts'

const MIB = 1024 * 1024
const LIFE_MS = 60_000
const LOOK_EVERY_MS = 50

const ends = z.record(z.string(), z.string())

/**
 * Starts a sandbox with a program of ours in it, looks at it from outside, and ends it: what is said is what the kernel enforces here and
 * now. It has a state directory of its own, so that no installation notices. Nothing is left of it; if this process is killed meanwhile,
 * it ends by itself within a minute. One finding for each of `sandboxNames`.
 */
export async function proveSandbox(options: OciOptions, signal: AbortSignal): Promise<Finding[]> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-'))
  try {
    await writeFile(join(dir, 'calls.json'), JSON.stringify(forbiddenPrograms()))
    const runner = fileURLToPath(new URL('probe.mjs', import.meta.url))
    const stateDir = join(dir, 'sbx')
    await using driver = await openOciDriver({ ...options, stateDir, runner, archiver: join(dir, 'calls.json') })
    const spec = probeSpec()
    try {
      return await look(await driver.create(spec, signal), spec, signal)
    } finally {
      await driver.destroy(spec.id)
    }
  } catch (error) {
    if (!isBerthError(error) && !signal.aborted) throw error
    return notLookedAt(error instanceof Error ? error.message : String(error))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

function notLookedAt(reason: string): Finding[] {
  const [first, ...others] = sandboxNames
  const remedy = 'berth doctor says what is missing'
  return [
    fail(first, `no sandbox could be looked at: ${reason}`, remedy),
    ...others.map((what) => fail(what, `no sandbox could be looked at: see ${first}`, remedy)),
  ]
}

async function look(ref: SandboxRef, spec: SandboxSpec, signal: AbortSignal): Promise<Finding[]> {
  const { runDir, uidBase } = ref
  if (runDir === undefined || uidBase === undefined) throw new Error('the oci driver always says where a sandbox is')
  const attempts = await reportOf(join(runDir, '../runner.log'), signal)
  const cgroups = await readCgroups()
  const [facts, hostNamespaces] = await Promise.all([readSandboxFacts(ref.id, cgroups), namespacesOf('self')])
  return judgeSandbox({ facts, uidBase, hostNamespaces, limits: spec.limits, cgroups, attempts })
}

/** The line that the probe writes when it has tried everything. */
async function reportOf(log: string, signal: AbortSignal): Promise<Record<string, string>> {
  for (;;) {
    const text = await readFile(log, 'utf8').catch(() => '')
    const line = /^\{.*\}$/m.exec(text)?.[0]
    if (line !== undefined) return ends.parse(JSON.parse(line))
    await sleep(LOOK_EVERY_MS, undefined, { signal })
  }
}

function probeSpec(): SandboxSpec {
  return {
    id: `sbx_doctor_${randomBytes(6).toString('hex')}`,
    epoch: 1,
    labels: {},
    limits: { cpus: 1, memoryBytes: 256 * MIB, diskBytes: 32 * MIB, pids: 64, files: 1024 },
    until: new Date(Date.now() + LIFE_MS),
    env: {},
    image: null,
  }
}

function forbiddenPrograms(): Record<string, string> {
  const { arch } = process
  if (!isProbeArch(arch)) return {}
  const programs = refusedCalls.map((call): [string, Buffer] => [call.name, callProgram(call, arch)])
  if (arch === 'x64') programs.push(['int80', int80Program()])
  return Object.fromEntries(programs.map(([name, program]) => [name, program.toString('base64')]))
}
