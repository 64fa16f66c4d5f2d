import { readFileSync } from 'node:fs'
import { settings } from '@berth/server/settings'
import { Command, Option } from 'commander'
import { z } from 'zod'
import { addDoctor } from './commands/doctor.ts'
import { addKeys } from './commands/keys.ts'
import { addQuickstart } from './commands/quickstart.ts'
import { addRun } from './commands/run.ts'
import { addServe } from './commands/serve.ts'
import { addSessions } from './commands/sessions.ts'
import { DEFAULT_URL } from './connection.ts'
import type { Context } from './context.ts'

/** The whole command line. Throws `CommanderError` instead of ending the process. */
export function berth(context: Context): Command {
  const { dataDir } = settings
  const program = new Command('berth')
    .description('Open-source hosting for Claude Agent SDK agents')
    .version(version(), '--version', 'print the version')
    .addOption(new Option('--url <url>', 'the server to talk to').env('BERTH_URL').default(DEFAULT_URL))
    .addOption(new Option('--api-key <key>', "the key to use (default: the local server's)").env('BERTH_API_KEY'))
    .option('--data-dir <dir>', `${dataDir.meaning} (${dataDir.env}; default: ${dataDir.default})`)
    .showSuggestionAfterError(true)
    .showHelpAfterError('(berth --help, or berth <command> --help, says more)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      getOutHelpWidth: () => context.stdout.columns ?? 100,
    })
  addServe(program, context)
  addQuickstart(program, context)
  addRun(program, context)
  addSessions(program, context)
  addKeys(program, context)
  addDoctor(program, context)
  return program
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version
}
