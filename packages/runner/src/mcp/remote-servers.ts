import type { McpSdkServerConfigWithInstance } from '@anthropic-ai/claude-agent-sdk'
import type { SessionConfig } from '@berth/protocol/link'
import type { SeenTools } from '@berth/protocol/seen-tools'
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import type { SessionLink } from '../session-link.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { policyOf } from '../tool-policies.ts'
import { OfferedServer } from './offered-server.ts'
import { type FailureKind, RemoteFailure } from './remote-failure.ts'
import { RemoteServer } from './remote-server.ts'

/** How long a turn waits for a server, and for one that was not there the last time. It goes on without it, and the server may join later. */
const FIRST_MS = 15_000
const AGAIN_MS = 3_000
/** How long it waits for a CLI to ask for tools that have changed. */
const TELL_MS = 3_000

/** Reports of a server in one turn. What is found in its lists is told once in its life. */
const MAX_TOLD: Readonly<Record<FailureKind, number>> = { connection: 1, authentication: 1, tools: 5 }

type Remote = SessionConfig['mcp_servers'][number] & { type: 'remote' }

export interface HeldRemoteCall {
  readonly cliName: string
  readonly input: Record<string, unknown>
  readonly digest: string
}

interface Kept {
  readonly name: string
  readonly server: RemoteServer
  /** As its present CLI has it. */
  offered: OfferedServer | undefined
  /** It was not there when it was last looked for. */
  isMissing: boolean
  /** How often each kind of failure was reported of it in this turn. */
  readonly told: Map<FailureKind, number>
}

/**
 * The remote MCP servers of a session. What was seen of a server's tools holds as long as the session has it, whatever CLIs come and go; the
 * session's server is told, and tells it the runners to come.
 */
export class RemoteServers implements AsyncDisposable {
  readonly #report: SessionLink['report']
  /** By name and place. */
  #kept = new Map<string, Kept>()
  #config: SessionConfig | undefined

  constructor(report: SessionLink['report']) {
    this.#report = report
  }

  /**
   * Takes the servers of a config, which are connected soon. Those that it has no more are given up. `seen`: what was seen of those that it did
   * not have before.
   */
  configure(config: SessionConfig, seen: readonly SeenTools[]): void {
    this.#config = config
    const before = this.#kept
    const remotes = config.mcp_servers.filter((server): server is Remote => server.type === 'remote')
    this.#kept = new Map(
      remotes.map((remote) => {
        const key = `${remote.name} ${remote.place}`
        return [key, before.get(key) ?? this.#keep(remote, config, seen)]
      }),
    )
    for (const [key, { server }] of before) if (!this.#kept.has(key)) void server[Symbol.asyncDispose]()
    for (const { server } of this.#kept.values()) {
      server.reconsider()
      // A failure is told when a turn would need it.
      void server.connect().catch(() => undefined)
    }
  }

  /** As the next CLI has them. */
  offer(): Record<string, McpSdkServerConfigWithInstance> {
    return Object.fromEntries(
      [...this.#kept.values()].map((kept) => {
        kept.offered = new OfferedServer(kept.name, kept.server)
        return [kept.name, kept.offered.config]
      }),
    )
  }

  /** Before a turn: resolves when every server that answers is there and the CLI knows its tools. What is not there is reported, and waited for no longer. */
  async ready(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#kept.values()].map((kept) => this.#ready(kept, signal)))
    const late = AbortSignal.any([signal, AbortSignal.timeout(TELL_MS)])
    await Promise.all([...this.#kept.values()].map(async ({ offered }) => offered?.settled(late)))
  }

  /** Is the tool that the CLI calls by this name one of theirs? */
  has(cliName: string): boolean {
    return this.#find(cliName) !== undefined
  }

  /** Makes a call for which there is no CLI: of the tool that had this digest when the call was made, and of no other. */
  async call({ cliName, input, digest }: HeldRemoteCall, signal: AbortSignal): Promise<CallToolResult> {
    const found = this.#find(cliName)
    if (found === undefined) throw new Error(`no MCP server of the session has the tool ${cliName}`)
    return found.server.call(found.tool, input, signal, digest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const kept = [...this.#kept.values()]
    this.#kept.clear()
    await Promise.all(kept.map(({ server }) => server[Symbol.asyncDispose]()))
  }

  #keep({ name, place }: Remote, { mcp_socket }: SessionConfig, seen: readonly SeenTools[]): Kept {
    const kept: Kept = {
      name,
      offered: undefined,
      isMissing: false,
      told: new Map(),
      server: new RemoteServer({
        name,
        socketPath: mcp_socket ?? '/nowhere/mcp.sock',
        mayOffer: (tool) => this.#config !== undefined && policyOf(this.#config, `mcp__${name}__${tool}`) !== 'deny',
        onTools: () => kept.offered?.changed(),
        onFailure: (failure) => this.#tell(kept, failure),
        seen: seen.find((one) => one.server === name && one.place === place)?.tools ?? [],
        onSeen: (news) => void this.#report({ type: 'seen_tools', server: name, place, tools: [...news] }),
      }),
    }
    return kept
  }

  #find(cliName: string): { server: RemoteServer; tool: string } | undefined {
    for (const { name, server } of this.#kept.values()) {
      const prefix = `mcp__${name}__`
      if (cliName.startsWith(prefix)) return { server, tool: cliName.slice(prefix.length) }
    }
    return undefined
  }

  async #ready(kept: Kept, signal: AbortSignal): Promise<void> {
    kept.told.clear()
    try {
      await within(kept.server.connect(), kept.isMissing ? AGAIN_MS : FIRST_MS, signal)
      kept.isMissing = false
    } catch (error) {
      if (signal.aborted) return
      kept.isMissing = true
      this.#tell(kept, error instanceof RemoteFailure ? error : new RemoteFailure('connection', String(error)))
    }
  }

  #tell({ name, told }: Kept, { kind, message }: RemoteFailure): void {
    const before = told.get(kind) ?? 0
    if (before >= MAX_TOLD[kind]) return
    told.set(kind, before + 1)
    this.#report({ type: 'mcp_failure', server: name, kind, detail: message })
  }
}

/** What it waits for goes on. */
async function within(task: Promise<void>, ms: number, signal: AbortSignal): Promise<void> {
  const waiting = new AbortController()
  const late = sleep(ms, undefined, { signal: AbortSignal.any([signal, waiting.signal]) }).then(() => {
    throw new RemoteFailure('connection', `did not answer within ${ms / 1_000} seconds`)
  })
  try {
    await Promise.race([task, late])
  } finally {
    waiting.abort()
    await late.catch(() => undefined)
  }
}
