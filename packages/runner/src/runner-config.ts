import { runnerEnv } from '@berth/protocol/link-constants'
import { archiverBeside } from './archiver-file.ts'
import type { CliLaunch } from './cli-process.ts'

export interface RunnerConfig {
  readonly sandboxId: string
  readonly link: string
  readonly nonce: string
  readonly launch: CliLaunch
  /** Path of the archive helper's program. */
  readonly archiver: string
}

/** Set to 1, agents run under the runner's own uid: for a developer's machine, never in a sandbox. */
const SAME_UID = 'BERTH_RUNNER_SAME_UID'

/** Reads the runner's environment. Throws, naming the variable, when something is missing. `file` is the runner's own program. */
export function readRunnerConfig(env: NodeJS.ProcessEnv, uid: number, file: string): RunnerConfig {
  const required = (name: string): string => {
    const value = env[name]
    if (value === undefined || value === '') throw new Error(`${name} is not set`)
    return value
  }
  const sameUid = env[SAME_UID] === '1'
  if (uid !== 0 && !sameUid)
    throw new Error(`the runner has uid ${uid}: it cannot run agents under another without being root`)
  return {
    sandboxId: required(runnerEnv.sandboxId),
    link: required(runnerEnv.link),
    nonce: required(runnerEnv.nonce),
    launch: { claude: env[runnerEnv.claude] ?? '/opt/berth/claude', sameUid },
    archiver: archiverBeside(file),
  }
}
