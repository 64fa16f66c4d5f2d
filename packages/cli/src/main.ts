import { CommanderError } from 'commander'
import { explain } from './connection.ts'
import type { Context } from './context.ts'
import { CommandError, exit } from './exit.ts'
import { berth } from './program.ts'

async function main(args: readonly string[], context: Context): Promise<void> {
  try {
    await berth(context).parseAsync(args, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has said what is wrong, or has printed the help or the version that was asked for.
      context.setExitCode(error.exitCode === 0 ? exit.ok : exit.usage)
      return
    }
    if (error instanceof Error && error.name === 'AbortError') return context.setExitCode(exit.interrupted)
    context.stderr.write(`berth: ${explain(error)}\n`)
    context.setExitCode(error instanceof CommandError ? error.exitCode : exit.failure)
  }
}

// The reader of a pipe may leave early, as `head` does: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(exit.ok)
})

await main(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  setExitCode: (code) => {
    process.exitCode = code
  },
  endNow: (code) => process.exit(code),
})
