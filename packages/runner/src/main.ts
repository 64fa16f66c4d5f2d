import { LinkClient } from './link-client.ts'
import { readRunnerConfig } from './runner-config.ts'
import type { RunnerConfig } from './runner-config.ts'
import type { Sessions } from './sessions.ts'

/** Set by the bundler: what this file was made from. */
declare const BERTH_RUNNER_VERSION: string

const EXIT_BAD_ENVIRONMENT = 2
const EXIT_REFUSED = 3

const log = (line: string) => void process.stderr.write(`runner: ${line}\n`)

async function run(config: RunnerConfig): Promise<number> {
  const stop = new AbortController()
  let sessions: Sessions | undefined
  const link = new LinkClient({
    ...config,
    now: () => performance.now(),
    log,
    // With the Agent SDK and the validators, which take longer to load than everything before the hello.
    onHello: async () => {
      const { Sessions } = await import('./sessions.ts')
      sessions = new Sessions({ link, launch: config.launch, archiver: config.archiver, log })
      return sessions
    },
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
  const refused = await link.run(stop.signal)
  await sessions?.[Symbol.asyncDispose]()
  if (refused === undefined) return 0
  log(`the server wants no more of this runner (close code ${refused})`)
  return EXIT_REFUSED
}

/** One session's mishap must not end the others. */
process.on('unhandledRejection', (reason) => log(`unhandled: ${String(reason)}`))

try {
  const config = readRunnerConfig(process.env, process.getuid?.() ?? -1, import.meta.filename)
  log(`version ${BERTH_RUNNER_VERSION}, sandbox ${config.sandboxId}`)
  process.exitCode = await run(config)
} catch (error) {
  log(error instanceof Error ? error.message : String(error))
  process.exitCode = EXIT_BAD_ENVIRONMENT
}
process.exit()
