// Runs inside a sandbox that several sessions share, as one of them, and prints what it could do to another as one line of JSON.
// Takes: the other's id, and its uid.
import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { attempt, dial, theirs, toEach } from './attempts.mjs'

const [other, uid] = process.argv.slice(2)
const [home, cwd, outputs] = [`/home/${other}`, `/workspace/${other}`, `/mnt/session/outputs/${other}`]

const seen = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
const ownerOf = (pid) => Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
process.stdout.write(
  JSON.stringify({
    owners: [...new Set(seen.map(ownerOf))],
    others: theirs.length,
    files: {
      'list the working directory': attempt(() => readdirSync(cwd)),
      'read a file there': attempt(() => readFileSync(`${cwd}/secret`)),
      'write one there': attempt(() => writeFileSync(`${cwd}/mine`, 'x')),
      'rename it': attempt(() => renameSync(cwd, `${cwd}.old`)),
      'remove it': attempt(() => rmSync(cwd, { recursive: true })),
      'list the home': attempt(() => readdirSync(home)),
      'read the conversation': attempt(() => readdirSync(`${home}/.claude/projects/session`)),
      'list its TMPDIR': attempt(() => readdirSync(`${home}/.tmp`)),
      'make a home': attempt(() => mkdirSync('/home/sesn_of_the_future')),
      'make a working directory': attempt(() => mkdirSync('/workspace/sesn_of_the_future')),
      'make an outputs directory': attempt(() => symlinkSync('/tmp', '/mnt/session/outputs/sesn_of_the_future')),
      'write to the outputs': attempt(() => writeFileSync(`${outputs}/mine`, 'x')),
      'change an output': attempt(() => writeFileSync(`${outputs}/handed`, 'x')),
      'remove an output': attempt(() => rmSync(`${outputs}/handed`)),
      'name an output otherwise': attempt(() => linkSync(`${outputs}/handed`, '/mnt/session/outputs/mine')),
      'remove from /tmp': attempt(() => rmSync('/tmp/of-the-other')),
    },
    processes: {
      end: toEach((pid) => process.kill(Number(pid), 'SIGKILL')),
      stop: toEach((pid) => process.kill(Number(pid), 'SIGSTOP')),
      environment: toEach((pid) => readFileSync(`/proc/${pid}/environ`)),
      memory: toEach((pid) => readFileSync(`/proc/${pid}/mem`)),
      descriptors: toEach((pid) => readdirSync(`/proc/${pid}/fd`)),
      directory: toEach((pid) => readdirSync(`/proc/${pid}/cwd/`)),
      priority: attempt(() => execFileSync('/usr/bin/renice', ['19', '-u', uid], { stdio: 'pipe' })) === 'ok',
    },
    sockets: {
      model: await dial({ path: `/run/berth/gw/${uid}/model.sock` }),
      link: await dial({ path: '/run/berth/link/link.sock' }),
      own: await dial({ path: process.env.ANTHROPIC_UNIX_SOCKET }),
    },
    identities: {
      uid: attempt(() => process.setuid(Number(uid))),
      gid: attempt(() => process.setgid(Number(uid))),
      groups: process.getgroups(),
    },
    read: readFileSync(`${outputs}/handed`, 'utf8').trim(),
  }),
)
process.exit(0)
