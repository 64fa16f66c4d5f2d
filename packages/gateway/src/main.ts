/** `node main.ts --state <dir> [--idle-exit <seconds>]`: one gateway. Its state on stdout, one JSON line when ready; its log on stderr. */
import { readFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { parseArgs } from 'node:util'
import { isBerthError } from '@berth/protocol/error'
import { destination } from 'pino'
import { z } from 'zod'
import { scrubber } from './config.ts'
import { type FixedConfig, readFixedConfig } from './fixed-config.ts'
import { openGateway } from './gateway.ts'
import { createLogger } from './logger.ts'

const flags = z.object({
  state: z.string({ error: '--state <dir> is required' }).min(1),
  'idle-exit': z.coerce.number().positive().max(2_000_000).default(3600),
})

function readFlags() {
  const { values } = parseArgs({ options: { state: { type: 'string' }, 'idle-exit': { type: 'string' } } })
  const parsed = flags.safeParse(values)
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error))
  return parsed.data
}

function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version
}

async function run(fixed: FixedConfig, given: z.infer<typeof flags>): Promise<number> {
  const { upstream } = fixed
  const logger = createLogger(scrubber(upstream), destination({ dest: 2, sync: true }))
  const signal = Promise.withResolvers<undefined>()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => signal.resolve(undefined))
  await using gateway = await openGateway({
    state: given.state,
    ...fixed,
    logger,
    now: () => new Date(),
    version: readVersion(),
    idleExitMs: given['idle-exit'] * 1000,
  })
  if (upstream.apiKey === undefined) logger.warn('ANTHROPIC_API_KEY is not set: model calls are refused')
  process.stdout.write(`${JSON.stringify({ ready: true, pid: process.pid, control: gateway.control })}\n`)
  // Otherwise written at the end alone, which one that is killed does not have.
  flushCompileCache()
  const failure = await Promise.race([gateway.ended, signal.promise])
  if (failure !== undefined) logger.fatal({ err: failure }, 'the ledger is lost')
  else logger.info('ending')
  return failure === undefined ? 0 : 1
}

// Sockets and files are nobody else's before a single mode is set.
process.umask(0o077)
try {
  process.exitCode = await run(readFixedConfig(process.env), readFlags())
} catch (error) {
  const text = isBerthError(error) || error instanceof Error ? error.message : String(error)
  process.stderr.write(`berth gateway: ${text}\n`)
  process.exitCode = isBerthError(error, 'conflict') ? 3 : 1
}
