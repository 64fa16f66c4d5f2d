import { z } from 'zod'
import { controllers } from './cgroup.ts'
import type { Controller } from './cgroup.ts'

/** As much of a pino logger as the driver uses. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void
  warn(fields: Readonly<Record<string, unknown>>, message: string): void
}

export interface OciOptions {
  /** Directory for everything that this driver keeps; made if need be. One per installation, at most 30 characters or so. */
  readonly stateDir: string
  /** `auto`: crun, else runc. Or the path of a runtime with their command line. Default `auto`. */
  readonly runtime?: string
  /** Host paths of the programs that stand at `inside.node`, `inside.claude`, `inside.runner` and `inside.archiver`. */
  readonly node: string
  readonly claude: string
  readonly runner: string
  readonly archiver: string
  /** Options of Node for the runner. */
  readonly nodeFlags?: readonly string[]
  /** Limits that may be missing. Without this, a machine that cannot enforce one of them gets no sandbox. */
  readonly withoutLimits?: readonly Controller[]
  readonly logger?: Logger
  /** Milliseconds since 1970, for `until`. */
  readonly clock?: { now(): number }
}

const path = z
  .string()
  .startsWith('/')
  .regex(/^[^:,\\\n]+$/, 'must not contain : , \\ or line breaks')

/** What can be said about options without a look at the machine. */
export const optionPaths = z.object({
  stateDir: path,
  runtime: z.string().min(1).default('auto'),
  node: path,
  claude: path,
  runner: path,
  archiver: path,
  nodeFlags: z.array(z.string()).default([]),
  withoutLimits: z.array(z.enum(controllers)).default([]),
})
export type Settings = z.infer<typeof optionPaths>
