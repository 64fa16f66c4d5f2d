import type { Logger } from 'pino'
import { CommandError } from './exit.ts'

export interface StartConfig {
  readonly dataDir: string
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly model: 'anthropic' | 'scripted'
}

export interface StartOptions {
  readonly logger: Logger
  /** Gives up a start that is under way. */
  readonly signal: AbortSignal
}

export interface RunningBerth {
  readonly url: string
  /** `created`: made by this start, so that nobody has seen it yet. */
  readonly apiKey: { readonly value: string; readonly created: boolean; readonly path: string }
  /** Drains and stops the server. */
  close(): Promise<void>
}

/** Starts gateway, server and, where the config says so, the scripted model. Resolves when requests are answered. */
export function startBerth(_config: StartConfig, _options: StartOptions): Promise<RunningBerth> {
  return Promise.reject(new CommandError('not wired'))
}
