// Runs inside a sandbox, as the agent, and prints what it could do as one line of JSON. Takes: a port of the host's loopback, an abstract
// socket of the host, a file of the host, a process of the host, the host's addresses with commas between them.
import { execFileSync } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { createSocket } from 'node:dgram'
import { openSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { attempt, dial, theirs, toEach } from './attempts.mjs'

const [port, abstract, hostFile, hostPid, addresses] = process.argv.slice(2)

function datagram(address, type) {
  return new Promise((resolve) => {
    const socket = createSocket(type)
    socket.send('x', 53, address, (error) => {
      socket.close()
      resolve(error === null || error === undefined ? 'ok' : error.code)
    })
  })
}

/** What the model socket answers. */
function ask(path, { method = 'POST', headers = {}, body = '{}' } = {}) {
  return new Promise((resolve) => {
    const socketPath = process.env.ANTHROPIC_UNIX_SOCKET
    const options = { socketPath, path, method, headers: { 'content-type': 'application/json', ...headers } }
    const sent = request(options, (response) => {
      response.resume().once('end', () => resolve(response.statusCode))
    })
    sent.once('connect', (response) => resolve(response.statusCode))
    sent.once('upgrade', (response) => resolve(response.statusCode))
    sent.once('error', (error) => resolve(error.code))
    sent.end(body)
  })
}

const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
const nameOf = (pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
const names = new Map(pids.map((pid) => [pid, attempt(() => nameOf(pid)) === 'ok' ? nameOf(pid) : '']))
const into = (dir) =>
  attempt(() => {
    writeFileSync(`${dir}/.probe`, 'x')
    rmSync(`${dir}/.probe`)
  })
const shell = (command) => execFileSync('/bin/sh', ['-c', `${command}; true`], { encoding: 'utf8' }).trim()
/** By names under which machines and people keep what opens other doors. */
const keys =
  '*docker.sock containerd.sock podman.sock berth.db* api-key id_rsa id_ed25519 id_ecdsa .ssh .aws .kube .docker .netrc .npmrc .git-credentials ' +
  '.config/gcloud agent.[0-9]* S.gpg-agent* credentials.json serviceaccount shadow shadow- gshadow sudoers'
/** The agent's own process, which is two above: its shell is between them. */
const cli = readFileSync(`/proc/${process.ppid}/stat`, 'utf8').split(') ')[1].split(' ')[1]
const dirs =
  '/ /dev /dev/shm /etc /home /mnt /mnt/session /mnt/session/outputs /opt /opt/berth /proc/sys/kernel /root /run /run/berth ' +
  '/run/berth/gw /run/berth/gw/1000 /run/berth/link /sys /tmp /usr /usr/bin /usr/local /var /var/lib /workspace'
const statusOf = (key) => new RegExp(`^${key}:\\s*(\\S+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
const run = (command) => attempt(() => execFileSync('/bin/sh', ['-c', command], { stdio: 'pipe' }))
const failed = (outcome) => (outcome === 'ok' ? 'ok' : 'failed')

process.stdout.write(
  JSON.stringify({
    identity: {
      uid: process.getuid(),
      hostUid: Number(readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)[1]),
      effective: statusOf('CapEff'),
      noNewPrivileges: statusOf('NoNewPrivs'),
      seccomp: statusOf('Seccomp'),
      hostname: readFileSync('/proc/sys/kernel/hostname', 'utf8').trim(),
    },
    processes: [...names.values()].filter((name) => name !== ''),
    sockets: execFileSync('/bin/sh', ['-c', 'find / -type s 2>/dev/null || true'], { encoding: 'utf8' })
      .trim()
      .split('\n'),
    host: {
      file: attempt(() => readFileSync(hostFile)),
      process: pids.includes(hostPid) ? 'visible' : 'hidden',
      interfaces: readFileSync('/proc/net/dev', 'utf8')
        .match(/^\s*\w+(?=:)/gm)
        .map((name) => name.trim()),
    },
    keys: shell(
      `find / -path /proc -prune -o \\( ${keys
        .split(' ')
        .map((name) => `-name '${name}'`)
        .join(' -o ')} \\) -print 2>/dev/null`,
    ),
    // What is said here would be taken for what the agent says, or for an answer of the platform.
    voice: [0, 1, 2].map((fd) => attempt(() => openSync(`/proc/${cli}/fd/${fd}`, 'w'))),
    said: shell(
      'cat /proc/self/mountinfo /proc/self/mounts /proc/self/cgroup /proc/*/environ /proc/*/cmdline /proc/version /etc/* 2>/dev/null',
    ).replaceAll('\0', ' '),
    network: {
      name: await lookup('example.com').then(
        () => 'ok',
        (error) => (error.code === undefined ? 'odd' : 'failed'),
      ),
      loopback: await dial({ host: '127.0.0.1', port: Number(port) }),
      host: (await Promise.all(addresses.split(',').map((host) => dial({ host, port: Number(port) })))).join(),
      public: await dial({ host: '192.0.2.1', port: 443 }),
      metadata: await dial({ host: '169.254.169.254', port: 80 }),
      ipv6: await dial({ host: '2001:db8::1', port: 443 }),
      dns: await datagram('192.0.2.1', 'udp4'),
      abstract: await dial({ path: `\0${abstract}` }),
    },
    link: await dial({ path: '/run/berth/link/link.sock' }),
    egress: await dial({ path: '/run/berth/gw/1000/egress.sock' }),
    runner: {
      signal: toEach((pid) => process.kill(pid, 'SIGKILL')),
      stop: toEach((pid) => process.kill(pid, 'SIGSTOP')),
      environment: toEach((pid) => readFileSync(`/proc/${pid}/environ`)),
      memory: toEach((pid) => readFileSync(`/proc/${pid}/mem`)),
      descriptors: toEach((pid) => readdirSync(`/proc/${pid}/fd`)),
      root: toEach((pid) => readlinkSync(`/proc/${pid}/root`)),
      init: attempt(() => process.kill(1, 'SIGKILL')),
    },
    privileges: {
      userNamespace: failed(run('unshare -Ur true')),
      mount: failed(run('mount -t tmpfs none /mnt')),
      hostname: failed(run('hostname other')),
      setuid: failed(run('chmod 4755 /workspace/x 2>/dev/null; su -c true')),
      trace: failed(run(`strace -p ${theirs[0]} -o /dev/null`)),
      kernelLog: failed(run('dmesg')),
    },
    writable: dirs.split(' ').filter((dir) => into(dir) === 'ok'),
    gateway: {
      models: await ask('/v1/models', { method: 'GET', body: '' }),
      files: await ask('/v1/files'),
      dots: await ask('/v1/messages/../files'),
      encoded: await ask('/v1/messages%2f..%2ffiles'),
      query: await ask('/v1/messages?beta=false'),
      absolute: await ask('http://example.com/v1/messages'),
      get: await ask('/v1/messages', { method: 'GET', body: '' }),
      connect: await ask('example.com:443', { method: 'CONNECT', body: '' }),
      upgrade: await ask('/v1/messages', { headers: { connection: 'upgrade', upgrade: 'websocket' } }),
      text: await ask('/v1/messages', { headers: { 'content-type': 'text/plain' } }),
      batches: await ask('/v1/messages/batches'),
      admin: await ask('/v1/organizations/api_keys', { method: 'GET', body: '' }),
      control: await ask('/sessions/sesn_other/usage', { method: 'GET', body: '' }),
    },
  }),
)
process.exit(0)
