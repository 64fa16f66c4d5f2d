import type { Command, SessionConfig } from '@berth/protocol/link'
import type { CliLaunch } from './cli-process.ts'
import type { Exit } from './cli-run.ts'
import { HeldCall } from './held-call.ts'
import { type RemoteCall, remoteCall } from './mcp/held-remote-call.ts'
import type { RemoteServers } from './mcp/remote-servers.ts'
import type { SessionLink } from './session-link.ts'
import { sessionFiles, transcriptPath } from './session-transcript.ts'

export interface HeldCallsOptions {
  readonly config: SessionConfig
  readonly remotes: RemoteServers | undefined
  readonly calls: (Command & { type: 'run_calls' })['calls']
  readonly launch: CliLaunch
  readonly link: Pick<SessionLink, 'report' | 'acknowledged'>
}

/**
 * Carries the calls out one after the other; their results are reported as the CLI's messages. Resolves at the first whose CLI ends in the
 * middle of it, with that end, and at once when `stop` is aborted. Rejects at the first that the CLI does not take up.
 */
export async function runHeldCalls(options: HeldCallsOptions, stop: AbortSignal): Promise<Exit | undefined> {
  const { config, remotes, calls, launch, link } = options
  const files = sessionFiles(config, launch.sameUid)
  const path = transcriptPath(config)
  const size = files.size(path)
  for (const held of calls) {
    const { tool_use_id, line } = held
    if (stop.aborted) return undefined
    const begins = (signal: AbortSignal): Promise<void> =>
      link.acknowledged(link.report({ type: 'call_begins', tool_use_id }), signal)
    const onResult = (message: object): void => void link.report({ type: 'message', message: { ...message } })
    const remote = remoteCall(held, remotes)
    if (remote !== undefined) {
      await makeRemote(remote, { begins, onResult }, stop)
      continue
    }
    // Each CLI begins with the same transcript, without what the one before has written: no call sees another's end.
    files.cut(path, size)
    files.append(path, size, Buffer.from(line))
    const call = new HeldCall({ config, launch, toolUseId: tool_use_id, begins, onResult }, stop)
    try {
      const exit = await call.run()
      if (exit !== undefined && !stop.aborted) return exit
    } catch (error) {
      if (!stop.aborted) throw error
    }
  }
  return undefined
}

async function makeRemote(
  call: RemoteCall,
  { begins, onResult }: { begins: (signal: AbortSignal) => Promise<void>; onResult: (message: object) => void },
  stop: AbortSignal,
): Promise<void> {
  try {
    await begins(stop)
    onResult(await call.make(stop))
  } catch (error) {
    if (!stop.aborted) throw error
  }
}
