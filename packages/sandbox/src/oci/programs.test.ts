import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Bench } from '../conformance/context.ts'
import { openOciDriver } from './driver.ts'
import { ociUnderTest } from './oci-under-test.ts'
import { findProgram, isExecutable } from './runtime.ts'

const GIB = 1024 ** 3

/** The profile and the skeleton are right when the programs that agents use do not notice them. */
const programs: Readonly<Record<string, string>> = {
  bash: 'set -e; diff <(seq 3) <(printf "1\\n2\\n3\\n"); cat <<< here | grep -q here; trap "exit 0" TERM; kill -TERM $$',
  awk: `echo 1 2 | awk '{ print $1 + $2 }' | grep -qx 3`,
  tar: 'mkdir a && echo x > a/b && ln -s b a/c && tar czf a.tgz a && tar xzf a.tgz -C /tmp && diff -r a /tmp/a && cp -a a d && mv d e',
  python3: `python3 -c '
import json, multiprocessing, os, sqlite3, ssl, subprocess, tempfile, threading
with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
assert subprocess.check_output(["id", "-u"]) == b"1000\\n"
assert len(ssl.create_default_context().get_ca_certs()) > 50
sqlite3.connect("x.db").execute("create table a (b)")
'`,
  git: `git init -q repo && cd repo && echo x > a && git add a && git -c user.name=a -c user.email=a@b commit -qm x &&
    git worktree add -q ../other && git gc -q && git clone -q . ../clone && test -f ../clone/a`,
  gcc: `printf '#include <pthread.h>\\n#include <stdio.h>\\nvoid *f(void *x){return x;}\\nint main(){pthread_t t;return pthread_create(&t,0,f,0)||pthread_join(t,0);}' > a.c && gcc -O2 -pthread -o a a.c && ./a`,
  perl: `perl -e 'use IO::Select; pipe(my $r, my $w); exit(fork() ? (wait() > 0 ? 0 : 1) : 0)'`,
  script: 'script -qec "tty" /dev/null | grep -q /dev/pts',
  sudo: '! sudo -n true 2>/dev/null',
}

const root = process.getuid?.() === 0
const installed = await Promise.all(
  Object.keys(programs).map(async (name) => ({ name, there: (await findProgram(name)) !== undefined })),
)

describe.skipIf(!root)('programs in a sandbox', () => {
  it('run as they do elsewhere', async () => {
    await using bench = await Bench.open(ociUnderTest('crun'))
    await using sandbox = await bench.sandbox()
    for (const { name } of installed.filter(({ there }) => there)) {
      const end = await sandbox.probe.agent(runScript, `mkdir ${name} && cd ${name} && ${programs[name]}`)
      expect(end, name).toEqual({ status: 0, signal: null, output: '' })
    }
  })

  it('include Node with workers, a local server and file watching', async () => {
    await using bench = await Bench.open(ociUnderTest('crun'))
    await using sandbox = await bench.sandbox()
    expect(await sandbox.probe.agent(exerciseNode)).toEqual({ worker: 'pong', http: 'hello', watched: 'seen' })
  })

  it('include the CLI', async () => {
    const claude = cliPath()
    if (claude === undefined || !(await isExecutable(claude))) return
    await using bench = await Bench.open({
      ...ociUnderTest('crun'),
      open: ({ stateDir, runner }) =>
        openOciDriver({ stateDir, runner, archiver: runner, node: process.execPath, claude }),
    })
    const limits = { cpus: 2, memoryBytes: GIB, diskBytes: GIB, pids: 256, files: 4096 }
    await using sandbox = await bench.sandbox({ limits })
    const env =
      'HOME=/tmp/h CLAUDE_CONFIG_DIR=/tmp/h CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 CLAUDE_CODE_MAX_RETRIES=0'
    const url = 'ANTHROPIC_BASE_URL=http://127.0.0.1:9 ANTHROPIC_API_KEY=none'
    const end = await sandbox.probe.agent(
      runScript,
      `env ${env} ${url} /opt/berth/claude -p hello --output-format json; true`,
    )
    // No model answers there: that it says so shows that everything before that works.
    expect(end.output).toContain('"is_error":true')
    expect(end.output).toMatch(/ECONNREFUSED|ConnectionRefused|[Cc]onnect/)
  })
})

function cliPath(): string | undefined {
  try {
    const manifest = `@anthropic-ai/claude-agent-sdk-linux-${process.arch}/package.json`
    return join(dirname(createRequire(import.meta.url).resolve(manifest)), 'claude')
  } catch {
    return undefined
  }
}

function runScript(script: string) {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  const env = { PATH: '/usr/bin:/bin', HOME: '/tmp', LANG: 'C.UTF-8' }
  const end = spawnSync('/bin/bash', ['-c', script], { env, cwd: '/workspace', encoding: 'utf8', timeout: 50_000 })
  return { status: end.status, signal: end.signal, output: end.stdout + end.stderr }
}

async function exerciseNode() {
  const { Worker } = process.getBuiltinModule('node:worker_threads')
  const http = process.getBuiltinModule('node:http')
  const fs = process.getBuiltinModule('node:fs')
  const worker = new Worker('process.getBuiltinModule("node:worker_threads").parentPort.postMessage("pong")', {
    eval: true,
  })
  const pong = new Promise((resolve) => worker.on('message', resolve))
  const server = http.createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const watched = new Promise((resolve) => fs.watch('/workspace', () => resolve('seen')))
  fs.writeFileSync('/workspace/watched', '')
  return { worker: await pong, http: await (await fetch(`http://127.0.0.1:${port}`)).text(), watched: await watched }
}
