import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { BerthError } from '@berth/protocol'

/**
 * The only one, of all processes, that may bring this sandbox back, until it is disposed of or this process ends: the kernel holds the
 * lock for a child whose input ends with this process. `conflict` when another has it.
 */
export async function lockDirectory(dir: string): Promise<AsyncDisposable> {
  const command = ['--nonblock', '--no-fork', join(dir, 'lock'), 'sh', '-c', 'echo locked; read -r _']
  const holder = spawn('/usr/bin/flock', command, { cwd: '/', stdio: ['pipe', 'pipe', 'ignore'] })
  const ended = new Promise<void>((resolve) => holder.once('close', () => resolve()).once('error', () => resolve()))
  holder.stdin.on('error', () => {})
  const said = await Promise.race([once(holder.stdout, 'data').then(() => true), ended.then(() => false)])
  if (!said) throw new BerthError('conflict', `the sandbox in ${dir} is being restarted, or was destroyed`)
  return {
    [Symbol.asyncDispose]: async () => {
      holder.stdin.end()
      await ended
    },
  }
}
