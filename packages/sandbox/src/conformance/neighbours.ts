import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { describe, expect } from 'vitest'
import { Bench, promise, until } from './context.ts'
import type { DriverUnderTest } from './context.ts'

/** Files of the host that are part of every sandbox, whatever else is. */
const common = ['/usr/bin/env', '/usr/bin/sh']

export function neighbours(test: DriverUnderTest): void {
  describe('neighbours', () => {
    promise(test, 'share neither memory, loopback nor sockets, and end nothing of each other', async () => {
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
        systemV: 0,
      })
      expect(await one.probe.agent(countSystemV)).toBeGreaterThan(0)
      // The attacker ends itself, too.
      const end = await two.probe.agentOutcome(killAll)
      expect(end === 'lost' ? end : (end.signal ?? end.code)).toBe('SIGKILL')
      expect(await two.probe.runner(() => process.getuid?.())).toBe(0)
      await one.probe.agent(tell)
      expect(await listening).toBe('nobody came')
    })

    promise(test, 'do not change what all of them are made of', async () => {
      await using bench = await Bench.open(test)
      await using sandbox = await bench.sandbox()
      const digest = async (): Promise<string[]> =>
        Promise.all(
          [...common, bench.input.runner].map(async (path) =>
            createHash('sha256')
              .update(await readFile(path))
              .digest('hex'),
          ),
        )
      const before = await digest()
      for (const probe of [
        (files: string[]) => sandbox.probe.agent(changeFiles, files),
        (files: string[]) => sandbox.probe.runner(changeFiles, files),
      ])
        expect(await probe([...common, '/etc/passwd', '/opt/berth/runner.mjs', '/opt/berth/node'])).toEqual([])
      expect(await digest()).toEqual(before)
    })
  })
}

async function listenUntilTold() {
  const net = process.getBuiltinModule('node:net')
  const fs = process.getBuiltinModule('node:fs')
  fs.writeFileSync('/dev/shm/mine', '')
  for (const kind of [['-M', '4096'], ['-Q'], ['-S', '1']])
    process.getBuiltinModule('node:child_process').spawnSync('/usr/bin/ipcmk', kind)
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
    systemV: ['shm', 'msg', 'sem']
      .map((name) => fs.readFileSync(`/proc/sysvipc/${name}`, 'utf8').trim().split('\n').length - 1)
      .reduce((sum, count) => sum + count),
  }
}

/** Pieces of memory, queues and semaphores of System V that are to be seen. */
function countSystemV() {
  const fs = process.getBuiltinModule('node:fs')
  return ['shm', 'msg', 'sem']
    .map((name) => fs.readFileSync(`/proc/sysvipc/${name}`, 'utf8').trim().split('\n').length - 1)
    .reduce((sum, count) => sum + count)
}

function killAll() {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  spawnSync('/bin/sh', ['-c', 'kill -9 -1'])
  process.kill(process.pid, 'SIGKILL')
}

/** What it could do to them, all of which would have failed. */
function changeFiles(files: readonly string[]) {
  const fs = process.getBuiltinModule('node:fs')
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  const mine = `/tmp/changer-${process.getuid?.()}`
  const ways: Record<string, (path: string) => void> = {
    write: (path) => fs.closeSync(fs.openSync(path, 'r+')),
    append: (path) => fs.closeSync(fs.openSync(path, 'a')),
    truncate: (path) => fs.truncateSync(path, 0),
    chmod: (path) => fs.chmodSync(path, 0o777),
    chown: (path) => fs.chownSync(path, 1000, 1000),
    touch: (path) => fs.utimesSync(path, 0, 0),
    remove: (path) => fs.unlinkSync(path),
    rename: (path) => fs.renameSync(path, `${path}.old`),
    replace: (path) => fs.renameSync(mine, path),
    link: (path) => fs.linkSync(path, '/workspace/linked'),
    // Through a descriptor that may only be read.
    descriptor: (path) => void fs.writeSync(fs.openSync(path, 'r'), 'x'),
    proc: (path) => fs.closeSync(fs.openSync(`/proc/self/fd/${fs.openSync(path, 'r')}`, 'w')),
  }
  fs.writeFileSync(mine, 'x')
  const done = Object.entries(ways).flatMap(([name, way]) =>
    files
      .filter((path) => {
        try {
          way(path)
          return true
        } catch {
          return false
        }
      })
      .map((path) => `${name} ${path}`),
  )
  const python = '/usr/bin/python3'
  if (!fs.existsSync(python)) return done
  // Memory that is the file's own, and pages that are moved without being copied.
  const script = `
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for path in sys.argv[1:]:
    fd = os.open(path, os.O_RDONLY)
    try:
        mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        print('mmap', path)
    except PermissionError: pass
    read, write = os.pipe()
    os.write(write, b'xxxx')
    if libc.splice(read, None, fd, None, 4, 0) >= 0: print('splice', path)
    if libc.splice(fd, None, write, None, 1, 0) == 1 and os.write(write, b'x') != 1: print('odd', path)
`
  return [
    ...done,
    ...spawnSync(python, ['-c', script, ...files], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter((line) => line !== ''),
  ]
}
