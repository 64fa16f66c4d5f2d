import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Context } from './context.ts'
import type { StartConfig } from './start.ts'

export interface ServeOptions {
  readonly dataDir: string
  readonly host: string
  readonly port: number
  readonly model?: StartConfig['model']
}

export const DEFAULT_PORT = 7071

export function addServeOptions(command: Command): Command {
  const host = new Option('--host <address>', 'address to listen on').env('BERTH_HOST').default('127.0.0.1')
  const port = new Option('--port <number>', 'port to listen on, 0 for any').env('BERTH_PORT').default(DEFAULT_PORT)
  const model = new Option('--model <which>', 'where model calls go (default: anthropic with a key, else scripted)')
  return command
    .addOption(host)
    .addOption(port.argParser(parsePort))
    .addOption(model.env('BERTH_MODEL').choices(['anthropic', 'scripted']))
}

/** The scripted model answers where there is no key for the real one. */
export function startConfig({ dataDir, host, port, model }: ServeOptions, { env }: Context): StartConfig {
  const upstream = upstreamOf(env)
  const fallback = upstream.ANTHROPIC_API_KEY === undefined ? 'scripted' : 'anthropic'
  return { dataDir, host, port, model: model ?? fallback, upstream }
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
