import { afterAll, beforeAll, describe, expect } from 'vitest'
import { Bench, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'
import type { Probe } from './probe.ts'
import { absentCall, allowedCall, callProgram, int80Program, isProbeArch, refusedCalls } from '../system-calls.ts'

export function isolation(test: DriverUnderTest): void {
  describe('isolation', () => {
    // For what only looks, and leaves it as it was.
    let bench: Bench
    let sandbox: Awaited<ReturnType<Bench['sandbox']>>
    beforeAll(async () => {
      bench = await Bench.open(test)
      sandbox = await bench.sandbox()
    })
    afterAll(async () => {
      await using _bench = bench
      await sandbox[Symbol.asyncDispose]()
    })

    promise(test, 'has no network but its own loopback', async () => {
      expect(await sandbox.probe.agent(network)).toEqual({
        interfaces: ['lo'],
        routes: 1,
        outside: 'ENETUNREACH',
        outside6: 'ENETUNREACH',
        name: 'ENOTFOUND',
        loopback: 'ok',
      })
    })

    promise(test, 'refuses the system calls by which programs leave, to agents and to the runner', async () => {
      const arch = process.arch
      if (!isProbeArch(arch)) throw new Error(`no system call numbers for ${arch}`)
      const calls = [...refusedCalls, absentCall, allowedCall].map((call) => [
        call.name,
        callProgram(call, arch).toString('base64'),
      ])
      const EPERM = 1
      const ENOSYS = 38
      const wanted = {
        ...Object.fromEntries(refusedCalls.map(({ name }) => [name, EPERM])),
        [absentCall.name]: ENOSYS,
        [allowedCall.name]: 0,
      }
      expect(await sandbox.probe.agent(runPrograms, calls)).toEqual(wanted)
      expect(await sandbox.probe.runner(runPrograms, calls)).toEqual(wanted)
    })

    promise(test, 'has no 32-bit system calls', async () => {
      if (process.arch !== 'x64') return
      const ended = await sandbox.probe.agent(runPrograms, [['int80', int80Program().toString('base64')]])
      expect(ended).toEqual({ int80: 'SIGSYS' })
    })

    promise(test, 'gives agents no capability and no way to one; the runner has three', async () => {
      const agent = await sandbox.probe.agent(rights)
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
      const runner = await sandbox.probe.runner(rights)
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
      await using bench = await Bench.open(test)
      await using one = await bench.sandbox()
      await using two = await bench.sandbox()
      const map = (probe: Probe): Promise<number[]> => probe.agent(uidMap)
      expect(await map(one.probe)).toEqual([0, one.ref.uidBase, 65_536])
      expect(await map(two.probe)).toEqual([0, two.ref.uidBase, 65_536])
      expect(Math.abs((one.ref.uidBase ?? 0) - (two.ref.uidBase ?? 0))).toBeGreaterThanOrEqual(65_536)
    })

    promise(test, 'closes the runner and its link to agents', async () => {
      const refused = await sandbox.probe.agent(reachRunner)
      // Where agents do not even see that it is there, it is not there for them.
      const hidden: unknown = expect.stringMatching(/^(EACCES|ENOENT)$/)
      expect(refused).toEqual({
        'kill init': 'EPERM',
        'kill runner': 'EPERM',
        'environ of init': hidden,
        'environ of runner': hidden,
        'memory of runner': hidden,
        'root of runner': hidden,
        'descriptors of runner': hidden,
        'link directory': 'EACCES',
        'link socket': 'EACCES',
        'replace link': 'EROFS',
      })
    })

    promise(test, 'has a root file system that nobody in it can change', async () => {
      const [agent, runner] = [await sandbox.probe.agent(writable), await sandbox.probe.runner(writable)]
      expect(agent).toEqual(['/dev/shm', '/home', '/mnt/session/outputs', '/tmp', '/workspace'])
      const open = (await sandbox.probe.agent(mountTable)).filter(({ options }) => options.includes('rw'))
      const disk = ['/home', '/mnt/session/outputs', '/tmp', '/workspace']
      expect(
        open
          .map(({ at }) => at)
          .filter((at) => !/^\/(proc|dev)(\/|$)/.test(at))
          .sort(),
      ).toEqual(disk)
      for (const path of runner) expect(['/dev', '/dev/shm', '/dev/pts', '/home', '/tmp']).toContain(path)
    })

    promise(test, 'mounts whatever is writable without setuid programs and devices', async () => {
      const mounts = await sandbox.probe.agent(mountTable)
      const loose = mounts.filter(
        ({ root, at, options }) => options.includes('rw') && !options.includes('nosuid') && !isDevice(root, at),
      )
      expect(loose).toEqual([])
      for (const path of ['/workspace', '/home', '/mnt/session/outputs', '/tmp', '/dev/shm']) {
        expect(mounts.find(({ at }) => at === path)?.options).toEqual(expect.arrayContaining(['nosuid', 'nodev']))
      }
    })

    promise(test, 'shows no process, mount or name of the host', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox()
      const seen = await sandbox.probe.agent(surroundings)
      // Init, runner, probe. The runner has to see what it shall end; agents need not see more than themselves.
      expect((await sandbox.probe.runner(surroundings)).pids).toHaveLength(3)
      expect([1, 3]).toContain(seen.pids.length)
      expect(seen.hostname).toBe('sandbox')
      expect(seen.cgroups.every((path) => path === '/')).toBe(true)
      expect(seen.etcPasswd).not.toMatch(/^(?!root|agent|nobody)/m)
      expect(
        seen.descriptors.filter((target) => !/^(pipe|socket|anon_inode):|^\/dev\/null$|^\/proc\//.test(target)),
      ).toEqual([])
      expect(seen.cgroupFileSystems).toEqual([])
    })

    promise(
      test,
      'hides what the kernel says about the machine and keeps its switches shut, also from the runner',
      async () => {
        for (const seen of [await sandbox.probe.agent(kernelFiles), await sandbox.probe.runner(kernelFiles)]) {
          expect(seen.readable).toEqual([])
          expect(seen.writable).toEqual([])
        }
      },
    )

    promise(test, 'shares neither memory, loopback nor abstract sockets with another sandbox', async () => {
      await using bench = await Bench.open(test)
      await using one = await bench.sandbox()
      await using two = await bench.sandbox()
      const listening = one.probe.agent(listenUntilTold)
      await until(() => one.probe.agent(isListening))
      expect(await two.probe.agent(connectsNowhere)).toEqual({
        port: 'ECONNREFUSED',
        abstract: 'ECONNREFUSED',
        shm: [],
        tmp: [],
      })
      await one.probe.agent(tell)
      expect(await listening).toBe('nobody came')
    })
  })
}

async function network() {
  const fs = process.getBuiltinModule('node:fs')
  const net = process.getBuiltinModule('node:net')
  const dns = process.getBuiltinModule('node:dns')
  const dial = (host: string, port: number): Promise<string> =>
    new Promise((resolve) => {
      const socket = net.connect({ host, port })
      socket.on('connect', () => resolve('ok'))
      socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message))
    })
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  return {
    interfaces: fs
      .readFileSync('/proc/net/dev', 'utf8')
      .trim()
      .split('\n')
      .slice(2)
      .map((line) => line.split(':')[0]?.trim()),
    routes: fs.readFileSync('/proc/net/route', 'utf8').trim().split('\n').length,
    // Addresses that are reserved for documentation.
    outside: await dial('192.0.2.1', 80),
    outside6: await dial('2001:db8::1', 80),
    name: await new Promise((resolve) => dns.lookup('example.org', (error) => resolve(error?.code))),
    loopback: await dial('127.0.0.1', typeof address === 'object' && address !== null ? address.port : 0),
  }
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

async function reachRunner() {
  const fs = process.getBuiltinModule('node:fs')
  const net = process.getBuiltinModule('node:net')
  const refusal = (attempt: () => unknown): string => {
    try {
      attempt()
      return 'done'
    } catch (error) {
      return error instanceof Error && 'code' in error ? String(error.code) : String(error)
    }
  }
  const runner = process.ppid
  const dialed = new Promise((resolve) => {
    const socket = net.connect('/run/berth/link/link.sock')
    socket.on('connect', () => resolve('connected'))
    socket.on('error', (error) => resolve('code' in error ? error.code : error.message))
  })
  return {
    'kill init': refusal(() => process.kill(1, 'SIGKILL')),
    'kill runner': refusal(() => process.kill(runner, 'SIGSTOP')),
    'environ of init': refusal(() => fs.readFileSync('/proc/1/environ')),
    'environ of runner': refusal(() => fs.readFileSync(`/proc/${runner}/environ`)),
    'memory of runner': refusal(() => fs.openSync(`/proc/${runner}/mem`, 'r')),
    'root of runner': refusal(() => fs.readdirSync(`/proc/${runner}/root/`)),
    'descriptors of runner': refusal(() => fs.readdirSync(`/proc/${runner}/fd`)),
    'link directory': refusal(() => fs.readdirSync('/run/berth/link')),
    'link socket': await dialed,
    'replace link': refusal(() => fs.renameSync('/run/berth/link', '/run/berth/other')),
  }
}

function writable() {
  const fs = process.getBuiltinModule('node:fs')
  const fixed = [
    '/',
    '/etc',
    '/usr',
    '/usr/bin',
    '/usr/local',
    '/opt',
    '/opt/berth',
    '/run',
    '/run/berth',
    '/run/berth/gw',
    '/var',
    '/root',
  ]
  const mounted = fs
    .readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '/')
  const dirs = [...fixed, '/mnt', '/mnt/session', '/proc', '/proc/sys', '/sys', ...mounted].filter((path) =>
    fs.statSync(path).isDirectory(),
  )
  return [...new Set(dirs)].sort().filter((dir) => {
    try {
      fs.writeFileSync(`${dir}/.written`, '')
      fs.unlinkSync(`${dir}/.written`)
      return true
    } catch {
      return false
    }
  })
}

/** A device of the host bound on its own: of /dev, or /dev/null over a masked file. */
function isDevice(root: string, at: string): boolean {
  return at.startsWith('/dev/') || root === '/null'
}

function mountTable() {
  const lines = process.getBuiltinModule('node:fs').readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n')
  return lines.map((line) => {
    const [, , , root, at, options] = line.split(' ')
    return { root: root ?? '', at: at ?? '', options: (options ?? '').split(',') }
  })
}

function surroundings() {
  const fs = process.getBuiltinModule('node:fs')
  return {
    pids: fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)),
    hostname: process.getBuiltinModule('node:os').hostname(),
    cgroups: fs
      .readFileSync('/proc/self/cgroup', 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(':')[2]),
    etcPasswd: fs.readFileSync('/etc/passwd', 'utf8').trim(),
    descriptors: fs.readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [fs.readlinkSync(`/proc/self/fd/${fd}`)]
      } catch {
        return []
      }
    }),
    cgroupFileSystems: fs
      .readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => / cgroup2? /.test(line)),
  }
}

function kernelFiles() {
  const fs = process.getBuiltinModule('node:fs')
  const told = [
    'kallsyms',
    'kcore',
    'keys',
    'config.gz',
    'cmdline',
    'modules',
    'timer_list',
    'kmsg',
    'interrupts',
    'iomem',
    'slabinfo',
  ]
  const switches = [
    'sysrq-trigger',
    'sys/kernel/core_pattern',
    'sys/kernel/hostname',
    'sys/vm/overcommit_memory',
    'sys/net/ipv4/ip_forward',
  ]
  const works = (attempt: () => unknown): boolean => {
    try {
      return attempt() !== ''
    } catch {
      return false
    }
  }
  return {
    readable: told.filter((name) => works(() => fs.readFileSync(`/proc/${name}`, 'latin1'))),
    writable: switches.filter((name) => works(() => fs.closeSync(fs.openSync(`/proc/${name}`, 'r+')))),
  }
}

async function listenUntilTold() {
  const net = process.getBuiltinModule('node:net')
  const fs = process.getBuiltinModule('node:fs')
  fs.writeFileSync('/dev/shm/mine', '')
  fs.writeFileSync('/tmp/mine', '')
  return new Promise((resolve) => {
    const came = (): void => resolve('somebody came')
    net.createServer(came).listen(4711, '127.0.0.1', () =>
      net.createServer(came).listen('\0berth-conformance', () => {
        fs.watch('/tmp', (_event, name) => name === 'told' && resolve('nobody came'))
        fs.writeFileSync('/tmp/listening', '')
      }),
    )
  })
}

function isListening() {
  return process.getBuiltinModule('node:fs').existsSync('/tmp/listening')
}

function tell() {
  process.getBuiltinModule('node:fs').writeFileSync('/tmp/told', '')
}

async function connectsNowhere() {
  const net = process.getBuiltinModule('node:net')
  const fs = process.getBuiltinModule('node:fs')
  const dial = (to: { port: number; host: string } | { path: string }): Promise<unknown> =>
    new Promise((resolve) => {
      const socket = net.connect(to)
      socket.on('connect', () => resolve('connected'))
      socket.on('error', (error) => resolve('code' in error ? error.code : error.message))
    })
  return {
    port: await dial({ port: 4711, host: '127.0.0.1' }),
    abstract: await dial({ path: '\0berth-conformance' }),
    shm: fs.readdirSync('/dev/shm'),
    tmp: fs.readdirSync('/tmp'),
  }
}
