import type { Command } from 'commander'
import { destination, pino } from 'pino'
import type { Context } from '../context.ts'
import { addServeOptions, modelLine, type ServeOptions, serveConfig } from '../serve-config.ts'
import { Stopping } from '../stopping.ts'

export function addServe(program: Command, context: Context): void {
  addServeOptions(program.command('serve'))
    .description('start the server of this machine')
    .action((_options: ServeOptions, command: Command) => serve(command.optsWithGlobals<ServeOptions>(), context))
}

async function serve(options: ServeOptions, context: Context): Promise<void> {
  const config = serveConfig(options, context)
  const logger = pino({ base: null, level: config.logLevel }, destination({ dest: 2, sync: true }))
  if (config.model === 'scripted') context.stdout.write(`${modelLine(config)}\n`)
  using stopping = new Stopping(context)
  const { startBerth } = await import('../start.ts')
  const running = await startBerth(config, { logger, signal: stopping.signal })
  if (running.apiKey.created)
    context.stdout.write(`API key, shown this once and kept in ${running.apiKey.path}: ${running.apiKey.value}\n`)
  context.stdout.write(`berth ready on ${running.url} · data ${config.dataDir} · model ${config.model}\n`)
  await stopping.requested()
  stopping.drain()
  await running.close()
}
