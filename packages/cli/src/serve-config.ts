import { readFileSync } from 'node:fs'
import { isBerthError } from '@berth/protocol/error'
import { type Config, configFile, loadConfig } from '@berth/server/config'
import { type Setting, type SettingName, settings } from '@berth/server/settings'
import { type Command, Option } from 'commander'
import type { Context } from './context.ts'
import { CommandError, exit } from './exit.ts'
import { meteringOf } from './metering.ts'
import type { StartConfig } from './start.ts'

/** What was on the command line, by setting. */
export type ServeOptions = Readonly<Partial<Record<SettingName, string>>>

/** A server's configuration, for starting it. */
export interface ServeConfig extends StartConfig {
  readonly logLevel: Config['logLevel']
}

const all: readonly (readonly [string, Setting])[] = Object.entries(settings)

/** A flag for every setting that has one. The data directory's is there for every command. */
export function addServeOptions(command: Command): Command {
  for (const [name, { flag, env, meaning, default: fallback }] of all) {
    if (flag === null || name === 'dataDir') continue
    command.addOption(new Option(`${flag} <value>`, `${meaning} (${env}; default: ${fallback})`))
  }
  const unflagged = all.filter(([, { flag }]) => flag === null)
  const lines = unflagged.map(([, { env, meaning }]) => `  ${env}  ${meaning}`)
  return command.addHelpText('after', `\nOnly in the environment:\n${lines.join('\n')}`)
}

/** Flag, else environment, else configuration file, else default. A wrong one is an error of usage. */
export function serveConfig(options: ServeOptions, { env }: Context): ServeConfig {
  // The key that clients use is one thing, the key that a server is to have another: only the environment names the latter.
  const flags = { ...options, apiKey: undefined }
  try {
    const path = configFile({ flags, env })
    const file = path === undefined ? undefined : { path, text: readConfigFile(path) }
    const config = loadConfig({ flags, env, file, isRoot: process.getuid?.() === 0 })
    return { ...config, upstream: upstreamOf(config), metering: meteringOf(config) }
  } catch (error) {
    if (!isBerthError(error)) throw error
    throw new CommandError(error.message, exit.usage)
  }
}

function readConfigFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { flag, env } = settings.config
    const reason = error instanceof Error ? error.message : String(error)
    throw new CommandError(`the file of ${flag} or ${env} cannot be read: ${reason}`, exit.usage)
  }
}

/** The gateway's environment: what is set for it, nothing else of ours. */
function upstreamOf(config: Config): Record<string, string> {
  const given = {
    [settings.anthropicBaseUrl.env]: config.anthropicBaseUrl,
    [settings.anthropicApiKey.env]: config.anthropicApiKey,
    [settings.upstreamSocket.env]: config.upstreamSocket,
    [settings.upstreamConnectSeconds.env]: String(config.upstreamConnectSeconds),
    [settings.upstreamIdleSeconds.env]: String(config.upstreamIdleSeconds),
    [settings.egressDns.env]: config.egressDns.join(',') || undefined,
    [settings.egressNetworks.env]: config.egressNetworks.join(',') || undefined,
    [settings.egressCaFile.env]: config.egressCaFile,
    [settings.egressUploadLimit.env]: String(config.egressUploadLimit),
  }
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}

export function modelLine({ model, upstream }: StartConfig): string {
  return model === 'scripted'
    ? 'model: scripted, which needs no key and costs nothing; with ANTHROPIC_API_KEY set, the Anthropic API answers'
    : `model: ${upstream.ANTHROPIC_BASE_URL}, with ANTHROPIC_API_KEY`
}
