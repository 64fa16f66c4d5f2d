import { Anthropic, APIConnectionError, APIError, AuthenticationError } from '@anthropic-ai/sdk'
import { defaultDataDir } from '@berth/server/config'
import { settings } from '@berth/server/settings'
import { apiKeyPath, readApiKey } from './api-key-file.ts'
import type { Context } from './context.ts'
import { CommandError } from './exit.ts'
import { neutralise } from './neutralise.ts'

export const DEFAULT_URL = `http://${settings.listen.default}`

/** Options that every command has which talks to a server. Each has a variable of the environment, and all but the key a default. */
export interface ConnectionOptions {
  readonly url: string
  readonly apiKey?: string
  readonly dataDir?: string
}

/** The official client, pointed at Berth: the server that is named, or the one of this machine and user. */
export async function connect({ url, apiKey, dataDir }: ConnectionOptions, { env }: Context): Promise<Anthropic> {
  const baseURL = parseUrl(url)
  if (apiKey !== undefined && apiKey !== '') return clientFor(baseURL, apiKey)
  return clientFor(baseURL, await localKey(baseURL, dataDirOf(dataDir, env)))
}

/** The same as `serve` takes when no configuration file says otherwise. */
export function dataDirOf(option: string | undefined, env: Context['env']): string {
  return option || env.BERTH_DATA_DIR || defaultDataDir({ env, isRoot: process.getuid?.() === 0 })
}

export function clientFor(baseURL: string, apiKey: string): Anthropic {
  return new Anthropic({ baseURL, apiKey, authToken: null, defaultHeaders: { 'x-berth-client': 'cli' } })
}

/** The key in the data directory belongs to the server of this machine and is offered to no other. */
async function localKey(baseURL: string, dataDir: string): Promise<string> {
  const path = apiKeyPath(dataDir)
  if (!isLoopback(new URL(baseURL).hostname)) {
    throw new CommandError(`${baseURL} needs an API key: set BERTH_API_KEY or use --api-key`)
  }
  const key = await readApiKey(dataDir).catch((error: unknown) => {
    throw new CommandError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`)
  })
  if (key !== undefined) return key
  throw new CommandError(
    `no API key: ${path} does not exist. Start a server with \`berth serve\`, or set BERTH_API_KEY (and BERTH_URL) for one that runs elsewhere`,
  )
}

function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CommandError(`not an http(s) URL: ${text}`, 2)
  }
  return text.replace(/\/+$/, '')
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

/** What went wrong, for people: one message, safe for a terminal. */
export function explain(error: unknown): string {
  if (error instanceof CommandError) return error.message
  if (error instanceof AuthenticationError)
    return 'the server refused the API key: create one with `berth keys create`, or check BERTH_API_KEY'
  if (error instanceof APIConnectionError) {
    return `no Berth server can be reached (${causeOf(error)}). Start one with \`berth serve\`, or name one with --url or BERTH_URL`
  }
  if (error instanceof APIError) {
    const { requestID } = error
    return neutralise(`${error.apiMessage ?? error.message}${typeof requestID === 'string' ? ` (${requestID})` : ''}`)
  }
  return neutralise(error instanceof Error ? error.message : String(error))
}

/** Node hides the reason in a chain of causes. */
function causeOf(error: Error): string {
  let last: Error = error
  while (last.cause instanceof Error) last = last.cause
  if (last instanceof AggregateError && last.errors[0] instanceof Error) last = last.errors[0]
  return last.message
}
