// Stands in for the runner in the sandbox that `berth doctor --security` looks at. Starts one process as an agent would run, which makes
// the calls that no agent may make, one program each, and says how they ended. Then both wait to be looked at, and ended, from outside.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const AGENT_UID = 1000
const PROGRAM_MS = 5_000
/** In the place of another program that every sandbox has: name and executable, in base64, of every call. */
const calls = '/opt/berth/archiver.mjs'

if (process.argv[2] === 'agent') {
  const dir = mkdtempSync('/tmp/calls-')
  const ends = Object.entries(JSON.parse(readFileSync(calls, 'utf8'))).map(([name, program]) => [
    name,
    run(join(dir, 'call'), program),
  ])
  process.stdout.write(`${JSON.stringify(Object.fromEntries(ends))}\n`)
} else {
  spawn(process.execPath, [process.argv[1], 'agent'], {
    uid: AGENT_UID,
    gid: AGENT_UID,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
}
setInterval(() => {}, 60_000)

function run(path, program) {
  writeFileSync(path, Buffer.from(program, 'base64'), { mode: 0o755 })
  const { error, signal, status } = spawnSync(path, { timeout: PROGRAM_MS })
  unlinkSync(path)
  return String(error?.message ?? signal ?? status)
}
