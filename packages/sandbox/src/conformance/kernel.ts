import { describe, expect } from 'vitest'
import { promise, standing } from './context.ts'
import type { DriverUnderTest } from './context.ts'
import type { Probe } from './probe.ts'
import {
  absentCall,
  allowedCall,
  callProgram,
  int80Program,
  isProbeArch,
  refusedCalls,
  unknownCalls,
  x32Call,
} from '../system-calls.ts'

export function kernel(test: DriverUnderTest): void {
  describe('kernel', () => {
    const made = standing(test, [{}, {}])
    const probe = (): Probe => made()[0]?.probe ?? expect.fail('there is no sandbox')

    promise(test, 'refuses the system calls by which programs leave, to agents and to the runner', async () => {
      const arch = process.arch
      if (!isProbeArch(arch)) throw new Error(`no system call numbers for ${arch}`)
      const calls = [...refusedCalls, ...unknownCalls, absentCall, allowedCall].map((call) => [
        call.name,
        callProgram(call, arch).toString('base64'),
      ])
      const EPERM = 1
      const ENOSYS = 38
      const wanted = {
        ...Object.fromEntries(refusedCalls.map(({ name }) => [name, EPERM])),
        ...Object.fromEntries(unknownCalls.map(({ name }) => [name, expect.toBeOneOf([EPERM, ENOSYS])])),
        [absentCall.name]: ENOSYS,
        [allowedCall.name]: 0,
      }
      expect(await probe().agent(runPrograms, calls)).toEqual(wanted)
      expect(await probe().runner(runPrograms, calls)).toEqual(wanted)
    })

    promise(test, 'has no 32-bit system calls', async () => {
      if (process.arch !== 'x64') return
      const programs = { int80: int80Program(), x32: callProgram(x32Call, 'x64') }
      const encoded = Object.entries(programs).map(([name, program]) => [name, program.toString('base64')])
      expect(await probe().agent(runPrograms, encoded)).toEqual({ int80: 'SIGSYS', x32: 'SIGSYS' })
    })

    promise(test, 'gives agents no capability and no way to one; the runner has three', async () => {
      const agent = await probe().agent(rights)
      expect(agent.status).toMatchObject({
        CapEff: 0n.toString(),
        CapPrm: '0',
        CapInh: '0',
        CapAmb: '0',
        NoNewPrivs: '1',
        Seccomp: '2',
      })
      expect(agent.uids).toEqual([1000, 1000, 1000])
      expect(agent.become).toBe('EPERM')
      const runner = await probe().runner(rights)
      // CAP_KILL, CAP_SETGID, CAP_SETUID
      expect(runner.status).toMatchObject({
        CapEff: 'e0',
        CapPrm: 'e0',
        CapInh: '0',
        CapBnd: 'e0',
        NoNewPrivs: '1',
        Seccomp: '2',
      })
    })

    promise(test, 'maps its uids to a range of its own, host root not among them', async () => {
      const maps = await Promise.all(made().map(({ probe }) => probe.agent(uidMap)))
      const bases = made().map(({ ref }) => ref.uidBase ?? 0)
      expect(maps).toEqual(bases.map((base) => [0, base, 65_536]))
      const [one = 0, two = 0] = bases
      expect(Math.min(one, two)).toBeGreaterThan(0)
      expect(Math.abs(one - two)).toBeGreaterThanOrEqual(65_536)
    })

    promise(test, 'lets nobody gain a right by a program that gives some', async () => {
      const planted = await probe().runner(plantPrograms)
      expect(planted).toEqual({ mode: '6755', capability: expect.stringMatching(/^(EPERM|no python)$/) })
      expect(await probe().agent(runPlanted)).toEqual({ effective: '1000', device: 'EPERM' })
    })

    promise(test, 'hides what the kernel says about the machine, also from the runner', async () => {
      expect(await probe().agent(kernelSecrets)).toEqual([])
      expect(await probe().runner(kernelSecrets)).toEqual([])
    })

    promise(test, 'keeps every switch of the kernel shut, also from the runner', async () => {
      for (const { open, looked } of [await probe().agent(openSwitches), await probe().runner(openSwitches)]) {
        expect(open).toEqual([])
        expect(looked).toBeGreaterThan(100)
      }
    })
  })
}

function runPrograms(programs: readonly (readonly (string | undefined)[])[]) {
  const fs = process.getBuiltinModule('node:fs')
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  const dir = fs.mkdtempSync('/tmp/calls-')
  return Object.fromEntries(
    programs.map(([name, base64], index) => {
      const path = `${dir}/${index}`
      fs.writeFileSync(path, Buffer.from(base64 ?? '', 'base64'), { mode: 0o755 })
      const end = spawnSync(path, { timeout: 5000 })
      fs.unlinkSync(path)
      return [name, end.error?.message ?? end.signal ?? end.status]
    }),
  )
}

function rights() {
  const fs = process.getBuiltinModule('node:fs')
  const status = Object.fromEntries(
    fs
      .readFileSync('/proc/self/status', 'utf8')
      .split('\n')
      .filter((line) => /^(Cap|NoNewPrivs|Seccomp:)/.test(line))
      .map((line) => [line.split(':')[0], (line.split('\t')[1] ?? '').replace(/^0+(?=.)/, '')]),
  )
  const become = (): string => {
    try {
      process.setuid?.(0)
      return 'root'
    } catch (error) {
      return error instanceof Error && 'code' in error ? String(error.code) : String(error)
    }
  }
  return { status, uids: [process.getuid?.(), process.geteuid?.(), process.getgid?.()], become: become() }
}

function uidMap() {
  return process.getBuiltinModule('node:fs').readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/).map(Number)
}
function kernelSecrets() {
  const fs = process.getBuiltinModule('node:fs')
  const told =
    'kallsyms kcore keys key-users config.gz cmdline modules timer_list kmsg interrupts iomem ioports slabinfo diskstats zoneinfo'
  return told.split(' ').filter((name) => {
    try {
      return fs.readFileSync(`/proc/${name}`, 'latin1') !== ''
    } catch {
      return false
    }
  })
}

/** Files by which a kernel is told something, but for those of processes. None is written to: a host shall survive a test that fails. */
function openSwitches() {
  const fs = process.getBuiltinModule('node:fs')
  const named = ['/proc/sysrq-trigger']
  const open: string[] = []
  let looked = 0
  const namesIn = (dir: string): string[] => {
    try {
      return fs.readdirSync(dir)
    } catch {
      return []
    }
  }
  const look = (path: string): void => {
    looked++
    try {
      fs.closeSync(fs.openSync(path, 'r+'))
      open.push(path)
    } catch {
      // As it should be.
    }
  }
  const walk = (dir: string): void => {
    for (const name of namesIn(dir)) {
      const path = `${dir}/${name}`
      const at = fs.lstatSync(path, { throwIfNoEntry: false })
      if (at?.isDirectory() === true) walk(path)
      else if (at?.isFile() === true) look(path)
    }
  }
  for (const path of named) look(path)
  for (const dir of [
    '/proc/sys',
    '/proc/irq',
    '/proc/bus',
    '/proc/fs',
    '/proc/scsi',
    '/proc/acpi',
    '/proc/tty',
    '/sys',
  ])
    walk(dir)
  return { open, looked }
}

/** As the sandbox's root: a program that would run as root, and a file that would have a capability. */
function plantPrograms() {
  const fs = process.getBuiltinModule('node:fs')
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  fs.copyFileSync('/usr/bin/id', '/home/planted')
  fs.chmodSync('/home/planted', 0o6755)
  const python = '/usr/bin/python3'
  const script = `
import os
value = bytes([1, 0, 0, 2, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0])
try:
    os.setxattr('/home/planted', 'security.capability', value)
    print('done')
except OSError as error:
    print('EPERM' if error.errno == 1 else error)
`
  const capability = fs.existsSync(python)
    ? spawnSync(python, ['-c', script], { encoding: 'utf8' }).stdout.trim()
    : 'no python'
  return { mode: (fs.statSync('/home/planted').mode & 0o7777).toString(8), capability }
}

function runPlanted() {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  const effective = spawnSync('/home/planted', ['-u'], { encoding: 'utf8' }).stdout.trim()
  const made = spawnSync('/usr/bin/mknod', ['/workspace/device', 'b', '7', '0'], { encoding: 'utf8' })
  return { effective, device: /Operation not permitted/.test(made.stderr) ? 'EPERM' : made.stderr }
}
