// Runs inside a sandbox that several sessions share, as one of them, and tries what another one has. Takes: the other's id and uid.
// Prints a line for each attempt.
import { execFileSync } from 'node:child_process'
import { openSync, readdirSync, readFileSync, readlinkSync, statSync, watch, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setPriority } from 'node:os'

const [other, uid] = process.argv.slice(2)
const home = `/home/${other}`

function say(what, outcome) {
  process.stdout.write(`${JSON.stringify({ case: 12, tried: what, outcome })}\n`)
}

/** `ok`, or the code of the error. */
function attempt(act) {
  try {
    act()
    return 'ok'
  } catch (error) {
    return error.info?.code ?? error.code ?? String(error)
  }
}

/** Status of the answer to these bytes, or the code of the error. */
function ask(to, bytes) {
  return new Promise((resolve) => {
    const socket = connect(to, () => socket.write(bytes))
    socket.setTimeout(3_000, () => resolve('timeout'))
    socket.once('data', (data) => resolve(/^HTTP\/1\.1 (\d+)/.exec(String(data))?.[1] ?? 'bytes'))
    socket.once('end', () => resolve('closed'))
    socket.once('error', (error) => resolve(error.code))
  })
}

// The way out: a port of the loopback that all in the sandbox can reach, and a password that only its own have.
const proxy = new URL(process.env.HTTP_PROXY)
const authorization = (password) =>
  `Proxy-Authorization: Basic ${Buffer.from(`berth:${password}`).toString('base64')}\r\n`
const tunnel = (header) => `CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n${header}\r\n`
const listening = readFileSync('/proc/net/tcp', 'utf8')
  .split('\n')
  .map((line) => line.trim().split(/\s+/))
  .filter(([, , , state]) => state === '0A')
  .map(([, local]) => Number.parseInt(local.split(':')[1], 16))
const others = listening.filter((port) => port !== Number(proxy.port))
say('ports of others', others.length > 0 ? 'some' : 'none')
for (const [name, header] of Object.entries({
  'no password': '',
  'the own password': authorization(proxy.password),
  'an empty password': authorization(''),
  'a longer password': authorization(`${proxy.password}x`),
  'the password for the server': `Authorization: Basic ${Buffer.from(`berth:${proxy.password}`).toString('base64')}\r\n`,
})) {
  const answers = await Promise.all(others.map((port) => ask({ host: '127.0.0.1', port }, tunnel(header))))
  say(`their way out with ${name}`, [...new Set(answers)].join())
}
say(
  'the own way out',
  await ask({ host: '127.0.0.1', port: Number(proxy.port) }, tunnel(authorization(proxy.password))),
)
for (const socket of ['model.sock', 'egress.sock'])
  say(`their ${socket}`, await ask(`/run/berth/gw/${uid}/${socket}`, tunnel('')))

// Sockets of the sandbox, those without a file among them.
const names = readFileSync('/proc/net/unix', 'utf8')
  .split('\n')
  .slice(1)
  .map((line) => line.trim().split(/\s+/)[7])
  .filter((name) => name !== undefined)
const foreign = [...new Set(names)].filter(
  (name) => !name.startsWith(process.env.HOME) && !name.startsWith('/run/berth'),
)
const reached = await Promise.all(foreign.map(async (name) => [name, await ask(name.replace(/^@/, '\0'), 'x')]))
say('sockets of others', reached.filter(([, outcome]) => !/EACCES|ECONNREFUSED|ENOENT/.test(outcome)).join(' '))

// Processes, by number: they are not listed.
const theirs = Array.from({ length: 2_000 }, (_, index) => index + 2).filter(
  (pid) => attempt(() => process.kill(pid, 0)) === 'EPERM',
)
say('processes that are there', theirs.length > 3 ? 'some' : 'none')
const each = (what, act) => {
  const outcomes = new Set(theirs.map((pid) => attempt(() => act(pid))))
  outcomes.delete('ESRCH')
  say(what, [...outcomes].join())
}
for (const name of ['environ', 'cmdline', 'maps', 'status', 'auxv', 'stat'])
  each(`their ${name}`, (pid) => readFileSync(`/proc/${pid}/${name}`))
for (const name of ['cwd', 'exe', 'root']) each(`their ${name}`, (pid) => readlinkSync(`/proc/${pid}/${name}`))
each('their descriptors', (pid) => readdirSync(`/proc/${pid}/fd`))
each('their threads', (pid) => readdirSync(`/proc/${pid}/task`))
each('their memory', (pid) => openSync(`/proc/${pid}/mem`, 'r+'))
each('their output', (pid) => openSync(`/proc/${pid}/fd/1`, 'w'))
each('their score', (pid) => writeFileSync(`/proc/${pid}/oom_score_adj`, '1000'))
for (const signal of ['SIGTERM', 'SIGSTOP', 'SIGUSR1']) each(`a ${signal}`, (pid) => process.kill(pid, signal))
// For a group or a session: by the negative number.
each('a SIGKILL for their groups', (pid) => process.kill(-pid, 'SIGKILL'))
each('their priority', (pid) => setPriority(pid, 19))
const limit = (pid) => execFileSync('/usr/bin/prlimit', [`--pid=${pid}`, '--nofile=1:1'], { stdio: 'pipe' })
say('their limits', theirs.slice(0, 8).every((pid) => attempt(() => limit(pid)) !== 'ok') ? 'none' : 'some')

// Terminals, memory and files that all can name.
for (const dir of ['/dev/pts', '/dev/shm', '/tmp']) {
  const others = readdirSync(dir).filter((name) => name !== 'ptmx' && statSync(`${dir}/${name}`).uid === Number(uid))
  const opened = others.map((name) => attempt(() => openSync(`${dir}/${name}`, 'r+')))
  say(`what they have in ${dir}`, `${others.length > 0 ? 'seen' : 'unseen'} ${[...new Set(opened)].join()}`)
}
for (const path of [`${home}/.claude`, `${home}/.tmp`, `/workspace/${other}`]) {
  say(
    `watch ${path.replace(other, '')}`,
    attempt(() => watch(path).close()),
  )
  say(
    `go through ${path.replace(other, '')}`,
    attempt(() => statSync(`${path}/.`)),
  )
}
const ipcs = execFileSync('/usr/bin/ipcs', ['-mqs'], { encoding: 'utf8' })
say('memory and queues of System V', /^0x/m.test(ipcs) ? 'some' : 'none')
process.exit(0)
