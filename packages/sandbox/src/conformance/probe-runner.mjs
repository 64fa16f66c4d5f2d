// Stands in for the runner in the conformance suite: dials the link like the real one and runs the functions that the test sends, in
// a process of their own, under the uid asked for. One JSON object per line both ways.
import { spawn } from 'node:child_process'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const link = '/run/berth/link/link.sock'
const REDIAL_MS = 20

process.stdout.write(`probe ${process.env.BERTH_SANDBOX_ID} is up\n`)
dial()

function dial() {
  const socket = connect(link)
  socket.on('error', () => {})
  socket.on('close', () => setTimeout(dial, REDIAL_MS))
  createInterface({ input: socket })
    .on('line', (line) => run(JSON.parse(line), (answer) => socket.write(`${JSON.stringify(answer)}\n`)))
    .on('error', () => {})
}

function run({ n, uid, source, args }, answer) {
  const program = `const result = await (${source})(...${JSON.stringify(args)})
    process.stdout.write(JSON.stringify(result ?? null), () => process.exit())`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: '/workspace',
    ...(uid === 0 ? {} : { uid, gid: uid }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const text = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => (text[name] += chunk))
  child.on('error', (error) => answer({ n, code: null, signal: null, stdout: '', stderr: String(error) }))
  child.on('close', (code, signal) => answer({ n, code, signal, ...text }))
}
