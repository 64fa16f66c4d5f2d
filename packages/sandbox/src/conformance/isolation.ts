import { hostname } from 'node:os'
import { describe, expect } from 'vitest'
import { promise, standing } from './context.ts'
import type { DriverUnderTest } from './context.ts'
import type { Probe } from './probe.ts'

/** Of a sandbox, and to be seen nowhere in it. */
const LABEL = 'tenant-canary-7d41'

export function isolation(test: DriverUnderTest): void {
  describe('isolation', () => {
    const made = standing(test, [{ labels: { tenant: LABEL } }, {}])
    const probe = (): Probe => made()[0]?.probe ?? expect.fail('there is no sandbox')

    promise(test, 'has no network but its own loopback', async () => {
      expect(await probe().agent(network)).toEqual({
        interfaces: ['lo'],
        routes: 1,
        outside: 'ENETUNREACH',
        outside6: 'ENETUNREACH',
        name: 'ENOTFOUND',
        loopback: 'ok',
      })
    })

    promise(test, 'closes the runner and its link to agents', async () => {
      const refused = await probe().agent(reachRunner)
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
      const [agent, runner] = [await probe().agent(writable), await probe().runner(writable)]
      expect(agent).toEqual(['/dev/shm', '/home', '/mnt/session/outputs', '/tmp', '/workspace'])
      const open = (await probe().agent(mountTable)).filter(({ options }) => options.includes('rw'))
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
      const mounts = await probe().agent(mountTable)
      const loose = mounts.filter(
        ({ root, at, options }) => options.includes('rw') && !options.includes('nosuid') && !isDevice(root, at),
      )
      expect(loose).toEqual([])
      for (const path of ['/workspace', '/home', '/mnt/session/outputs', '/tmp', '/dev/shm']) {
        expect(mounts.find(({ at }) => at === path)?.options).toEqual(expect.arrayContaining(['nosuid', 'nodev']))
      }
    })

    promise(test, 'shows no process, mount or name of the host', async () => {
      const seen = await probe().agent(surroundings)
      // Init, runner, probe. The runner has to see what it shall end; agents need not see more than themselves.
      expect((await probe().runner(surroundings)).pids).toHaveLength(3)
      expect([1, 3]).toContain(seen.pids.length)
      expect(seen.hostname).toBe('sandbox')
      expect(seen.cgroups.every((path) => path === '/')).toBe(true)
      expect(seen.etcPasswd).not.toMatch(/^(?!root|agent|nobody)/m)
      expect(
        seen.descriptors.filter((target) => !/^(pipe|socket|anon_inode):|^\/dev\/null$|^\/proc\//.test(target)),
      ).toEqual([])
      expect(seen.cgroupFileSystems).toEqual([])
      // No directory, through which one could leave (CVE-2024-21626), is left open in the runner, either.
      const runner = await probe().runner(openInRunner)
      expect(runner.descriptors.filter((target) => !/^(pipe|socket|anon_inode):|^\/dev\/null$/.test(target))).toEqual(
        [],
      )
      expect(runner.cwd).toMatch(/^\/(workspace)?$/)
    })

    promise(test, 'names neither its tenant nor its neighbours, nor the machine', async () => {
      const neighbour = made()[1]?.ref.id ?? expect.fail('there is no neighbour')
      for (const text of [await probe().agent(everythingSaid), await probe().runner(everythingSaid)]) {
        expect(text.length).toBeGreaterThan(1000)
        expect(text).not.toContain(LABEL)
        expect(text).not.toContain(neighbour)
        expect(text.split(/[^\w.-]/)).not.toContain(hostname())
      }
    })
  })
}

function openInRunner() {
  const fs = process.getBuiltinModule('node:fs')
  const runner = `/proc/${process.ppid}`
  const descriptors = fs.readdirSync(`${runner}/fd`).map((fd) => fs.readlinkSync(`${runner}/fd/${fd}`))
  return { descriptors, cwd: fs.readlinkSync(`${runner}/cwd`) }
}

/** All that a program can read about where it is. */
function everythingSaid() {
  const fs = process.getBuiltinModule('node:fs')
  const processes = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const own = [
    'environ',
    'cmdline',
    'mountinfo',
    'mounts',
    'mountstats',
    'cgroup',
    'maps',
    'status',
    'net/unix',
    'net/tcp',
  ]
  const files = [
    ...processes.flatMap((pid) => own.map((name) => `/proc/${pid}/${name}`)),
    ...['cgroups', 'locks', 'swaps', 'version', 'mounts', 'sysvipc/shm', 'consoles', 'devices', 'fb', 'misc'].map(
      (name) => `/proc/${name}`,
    ),
    ...['hostname', 'domainname', 'core_pattern', 'random/boot_id'].map((name) => `/proc/sys/kernel/${name}`),
    ...['hostname', 'hosts', 'passwd', 'group', 'resolv.conf', 'machine-id', 'os-release', 'fstab', 'mtab'].map(
      (name) => `/etc/${name}`,
    ),
    '/sys/class/dmi/id/product_serial',
  ]
  const texts = files.map((path) => {
    try {
      return fs.readFileSync(path, 'latin1')
    } catch {
      return ''
    }
  })
  const names = [
    '/',
    '/run',
    '/run/berth',
    '/run/berth/gw',
    '/opt',
    '/opt/berth',
    '/mnt',
    '/home',
    '/workspace',
    '/tmp',
    '/var',
  ]
  return [...texts, ...names.flatMap((dir) => fs.readdirSync(dir))].join('\n')
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
