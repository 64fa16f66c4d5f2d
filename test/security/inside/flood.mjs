// Runs inside a sandbox, as the agent, and takes as much as it can of one thing. Takes: its name. Prints what it got.
import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { connect } from 'node:net'

const HELD_MS = 600_000
const say = (held) => process.stdout.write(`${JSON.stringify({ case: 23, tried: process.argv[2], outcome: held })}\n`)
const proxy = new URL(process.env.HTTP_PROXY)

/**
 * Opens connections and keeps them; answers how many stay open. Wave by wave, each when those of before that are refused were told so: more
 * than a queue holds are open for the kernel here for a minute, whoever listens.
 */
async function connections(to, limit) {
  const sockets = []
  const count = (state) => sockets.filter(({ readyState }) => readyState === state).length
  for (let wave = 0; wave < 15; wave++) {
    for (let n = 0; n < 200; n++) sockets.push(connect(to).on('error', () => {}))
    for (let look = 0; look < 600 && (count('opening') > 0 || count('open') > limit); look++)
      await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return count('open')
}

switch (process.argv[2]) {
  case 'model':
    say(await connections({ path: process.env.ANTHROPIC_UNIX_SOCKET }, 64))
    break
  case 'proxy':
    say(await connections({ host: '127.0.0.1', port: Number(proxy.port) }, 256))
    break
  case 'files': {
    let count = 0
    try {
      for (; count < 2_000_000; count++) openSync('/dev/null', 'r')
    } catch {
      // No more.
    }
    say(count)
    break
  }
  case 'processor':
    for (let n = 0; n < 8; n++) spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' })
    say(8)
    break
}
setTimeout(() => process.exit(), HELD_MS)
