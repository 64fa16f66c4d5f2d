/** What the server and the gateway do on the host while a session's files are listed, read, written, saved and restored. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ServerProcess } from '../harness/berth-server.ts'
import { contentPath, filesOf, fork, takeCheckpoint } from '../harness/berth-api.ts'
import { bash } from '../harness/message.ts'
import { messagesOf, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'
import { Tally } from './tally.ts'

/** Part of every name in the workspace. */
const MARK = 'canary-5b1e'
const run = promisify(execFile)
const hasStrace = await run('strace', ['--version']).then(
  () => true,
  () => false,
)

let berth: TestBerth<ServerProcess>
let hostFile: string
const tally = new Tally('host side')
beforeAll(async () => {
  berth = await startKillableBerth()
  hostFile = join(berth.dir, 'host-secret')
  await writeFile(hostFile, 'of the host')
})
afterAll(async () => {
  await using _berth = berth
  tally.end()
})

/** Programs that leave a trace where they run, and names that lead elsewhere. */
const hostile = `
  for name in git tar sh node rg find; do printf '#!/bin/sh\\ntouch /tmp/${MARK}-ran\\n' > $name; chmod 755 $name; done
  mkdir -p ${MARK}-dir/deep .git/hooks; echo x > ${MARK}-dir/deep/${MARK}-file; cp git .git/hooks/post-checkout
  printf '[core]\\n\\tfsmonitor = "touch /tmp/${MARK}-ran"\\n' > .git/config
  ln -s "$1" ${MARK}-out; ln -s / ${MARK}-root; ln -s /proc/self/environ ${MARK}-environ; ln -s ../../../../../../../.. ${MARK}-up
  mkfifo ${MARK}-pipe; touch -- '--checkpoint-action=exec=touch ${MARK}-ran' '-rf' '$(touch /tmp/${MARK}-ran)' '; touch ${MARK}-ran'`

/** Exchanges a directory and a link that leads out, as fast as it can, until it is ended. */
const swapper = `
  mkdir -p ${MARK}-a; echo mine > ${MARK}-a/x; ln -sfn /run/berth ${MARK}-b
  while :; do sleep 0.01; mv -T ${MARK}-a ${MARK}-c; mv -T ${MARK}-b ${MARK}-a; mv -T ${MARK}-a ${MARK}-b; mv -T ${MARK}-c ${MARK}-a; done`

/** Of the server and the gateway. */
async function hostPids(): Promise<number[]> {
  const gateway = (await berth.traces.gateway())?.pid
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const lines = await Promise.all(
    pids.map(async (pid) => ({ pid, args: await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') })),
  )
  const servers = lines.filter(({ args }) => args.includes('serve\0') && args.includes(berth.dir)).map(({ pid }) => pid)
  return gateway === undefined ? servers : [...servers, gateway]
}

/** Every path that those processes name to the kernel, and every program that they start; of a child, up to its first program. */
async function traced(act: () => Promise<void>): Promise<string[]> {
  const file = join(berth.dir, 'trace')
  const pids = await hostPids()
  expect(pids.length).toBeGreaterThanOrEqual(2)
  const options = ['-f', '--detach-on=execve', '-y', '-s', '4096', '-e', 'trace=%file', '-e', 'signal=none', '-o', file]
  const strace = spawn('strace', [...options, ...pids.map((pid) => `--attach=${pid}`)], { stdio: 'ignore' })
  const exited = once(strace, 'exit')
  const isTraced = async (pid: number): Promise<boolean> =>
    !(await readFile(`/proc/${pid}/status`, 'utf8')).includes('TracerPid:\t0')
  try {
    await waitUntil('they are traced', async () => (await Promise.all(pids.map(isTraced))).every(Boolean))
    await act()
  } finally {
    strace.kill('SIGINT')
    await exited
  }
  return (await readFile(file, 'utf8')).split('\n')
}

test.skipIf(!hasStrace)(
  'no program is started from a workspace, and no path followed into one',
  async () => {
    const { id } = await berth.createSessionWith({ lifecycle: { type: 'long_running' } })
    await berth.runTurn(id, ['Plant', bash(`set -- ${hostFile}; ${hostile}`), '::next', '::text Planted.'])
    await berth.runTurn(id, [
      'Swap',
      bash(`(${swapper}) > /dev/null 2>&1 & echo $! > swapper`),
      '::next',
      '::text Begun.',
    ])
    const sandbox = await SessionSandbox.of(berth.traces, id)
    const answers: string[] = []
    const read = async (path: string): Promise<void> => {
      const answer = await berth.fetch(contentPath(id, `/workspace/${path}`))
      answers.push(await answer.text())
    }

    const calls = await traced(async () => {
      for (const path of ['', `${MARK}-dir`, `${MARK}-root`, `${MARK}-up`, '.git/hooks'])
        answers.push(JSON.stringify(await filesOf(berth, id, `/workspace/${path}`).catch(String)))
      for (const path of ['out', 'environ', 'dir/deep/canary-5b1e-file', 'pipe', 'up/etc/shadow', `root${hostFile}`])
        await read(`${MARK}-${path}`)
      for (let round = 0; round < 8; round++) await read(`${MARK}-a/link/link.sock`)
      const body = `new ${MARK}`
      for (const path of [`${MARK}-dir/new`, `${MARK}-out`, `${MARK}-root/tmp/x`, '$(id)', '-rf'])
        answers.push(await (await berth.fetch(contentPath(id, `/workspace/${path}`), { method: 'PUT', body })).text())
      await berth.runTurn(id, ['Rest', bash('kill -9 $(cat swapper)'), '::next', '::text Rested.'])
      await takeCheckpoint(berth, id)
      await sandbox.kill({ disk: 'lost' })
      const look = bash(`cat ${MARK}-dir/new; ls -A | wc -l`)
      const turn = await berth.runTurn(id, ['Look', look, '::next', '::text Restored.'], AbortSignal.timeout(90_000))
      expect(messagesOf(turn)).toEqual(['Restored.'])
      expect(textOf(onlyOf(turn, 'agent.tool_result').content)).toMatch(new RegExp(`^${body}\\n?[1-9]`))
      berth.adopt((await fork(berth, id, { event_id: (await berth.list(id)).at(-1)?.id })).session.id)
    })

    const programs = calls.flatMap((line) => /execve\("([^"]*)"/.exec(line)?.[1] ?? [])
    // What makes sandboxes is there, so the trace is one.
    expect(programs).toContain('/usr/bin/unshare')
    const inside = calls.filter((line) => line.includes(MARK) || /\/disk\/(workspace|home|outputs)/.test(line))
    const through = calls.filter((line) => /"\/proc\/\d+\/(root|cwd|fd)\//.test(line))
    tally.expectAll(
      {
        'programs outside of the system’s directories': programs.filter((path) => !/^(\/usr)?\/s?bin\//.test(path)),
        'paths of a workspace': inside,
        'paths through a process': through,
        'answers of the host': answers.filter((text) => /of the host|root:[*!$]/.test(text)),
        'the host’s file': await readFile(hostFile, 'utf8'),
      },
      {
        'programs outside of the system’s directories': [],
        'paths of a workspace': [],
        'paths through a process': [],
        'answers of the host': [],
        'the host’s file': 'of the host',
      },
    )
  },
  240_000,
)

test('no path of the host leads into a workspace', async () => {
  const { id } = await berth.createSession()
  await berth.runTurn(id, ['Make', bash(`echo x > ${MARK}-here; touch ~/${MARK}-here`), '::next', '::text Made.'])
  const { dir } = await SessionSandbox.of(berth.traces, id)
  const { stdout } = await run('find', [berth.dir, '/run/berth', '-name', `*${MARK}*`]).catch(() => ({ stdout: '' }))
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').filter((line) => line.includes(dir))
  tally.expectAll(
    { names: stdout, mounts, disk: await readdir(join(dir, 'disk')) },
    { names: '', mounts: [], disk: [] },
  )
})
