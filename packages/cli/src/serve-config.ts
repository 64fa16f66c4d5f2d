import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Context } from './context.ts'
import { defaultDataDir } from './data-dir.ts'
import type { StartConfig } from './start.ts'

export interface ServeOptions {
  readonly dataDir?: string
  readonly host?: string
  readonly port?: number
  readonly model?: 'anthropic' | 'scripted'
}

export function addServeOptions(command: Command): Command {
  return command
    .option('--host <address>', 'address to listen on (BERTH_HOST; default: 127.0.0.1)')
    .option('--port <number>', 'port to listen on, 0 for any (BERTH_PORT; default: 7071)', parsePort)
    .addOption(
      new Option(
        '--model <which>',
        'where model calls go (BERTH_MODEL; default: anthropic with ANTHROPIC_API_KEY, else scripted)',
      ).choices(['anthropic', 'scripted']),
    )
}

/** Option, else environment, else default. */
export function startConfig(options: ServeOptions, { env }: Context): StartConfig {
  const hasKey = env.ANTHROPIC_API_KEY !== undefined && env.ANTHROPIC_API_KEY !== ''
  const scripted = env.BERTH_MODEL === 'scripted' || !hasKey
  return {
    dataDir: options.dataDir ?? env.BERTH_DATA_DIR ?? defaultDataDir(env),
    host: options.host ?? env.BERTH_HOST ?? '127.0.0.1',
    port: options.port ?? (env.BERTH_PORT === undefined ? 7071 : parsePort(env.BERTH_PORT)),
    model: options.model ?? (scripted ? 'scripted' : 'anthropic'),
    upstream: upstreamOf(env),
  }
}

const upstreamVariables = [
  'ANTHROPIC_API_KEY',
  'ANTHROPIC_BASE_URL',
  'BERTH_UPSTREAM_SOCKET',
  'BERTH_UPSTREAM_CONNECT_SECONDS',
  'BERTH_UPSTREAM_IDLE_SECONDS',
]

/** What of the environment the gateway gets: nothing else of it. */
function upstreamOf(env: Context['env']): Record<string, string> {
  return Object.fromEntries(
    upstreamVariables.flatMap((name) => {
      const value = env[name]
      return value === undefined || value === '' ? [] : [[name, value]]
    }),
  )
}

export function modelLine({ model }: StartConfig): string {
  return model === 'scripted'
    ? 'model: scripted, which needs no key and costs nothing; with ANTHROPIC_API_KEY set, the Anthropic API answers'
    : 'model: the Anthropic API, with ANTHROPIC_API_KEY'
}

function parsePort(text: string): number {
  const port = Number(text)
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new InvalidArgumentError('must be a port number, 0 to 65535')
  return port
}
