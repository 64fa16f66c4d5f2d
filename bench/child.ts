/** A program of ours in a process of its own: ready when it has printed a line of JSON, told to end by the end of its stdin. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { z } from 'zod'

export interface Child<Ready> extends AsyncDisposable {
  readonly pid: number
  readonly ready: Ready
  /** Resolves when the process is gone. What it started lives on. */
  kill(): Promise<void>
}

/** Its stderr is ours. Throws when it ends without having been ready. */
export async function startChild<Ready>(args: readonly string[], schema: z.ZodType<Ready>): Promise<Child<Ready>> {
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  const first = await Promise.race([once(lines, 'line'), exited.then(() => undefined)])
  if (first === undefined || child.pid === undefined) throw new Error(`${args[0]} ended with ${child.exitCode}`)
  return {
    pid: child.pid,
    ready: schema.parse(JSON.parse(String(first[0]))),
    kill: async () => {
      child.kill('SIGKILL')
      await exited
    },
    [Symbol.asyncDispose]: async () => {
      child.stdin.end()
      await exited
    },
  }
}
