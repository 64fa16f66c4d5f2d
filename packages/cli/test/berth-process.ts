import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { resolve } from 'node:path'

const launcher = resolve(import.meta.dirname, '../../../bin/berth')

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** `bin/berth` as a user starts it, but with this environment alone. Killed when disposed. */
export class BerthProcess implements Disposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly ended: Promise<Ended>
  out = ''
  err = ''

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}, terminal = false) {
    const [command, argv] = terminal ? inTerminal(args) : [launcher, args]
    this.#child = spawn(command, argv, { env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env }, stdio: 'pipe' })
    this.#child.stdout.on('data', (chunk: Buffer) => (this.out += chunk.toString()))
    this.#child.stderr.on('data', (chunk: Buffer) => (this.err += chunk.toString()))
    this.ended = new Promise((settle, reject) => {
      this.#child.once('error', reject)
      this.#child.once('close', (code) => settle({ code, out: this.out, err: this.err }))
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  type(text: string): void {
    this.#child.stdin.write(text)
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL')
  }
}

/** `script` gives the program a terminal of its own, forwards its exit code, and echoes what is typed. */
function inTerminal(args: readonly string[]): [string, string[]] {
  const line = [launcher, ...args].map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ')
  return ['script', ['--quiet', '--return', '--flush', '--command', line, '/dev/null']]
}

export async function berthProcess(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended> {
  using berth = new BerthProcess(args, env)
  return await berth.ended
}
