/** A running Berth, seen as its users see it: a URL, a key, the official client. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Anthropic } from '@anthropic-ai/sdk'
import { ociOptions } from '@berth/cli/programs'
import type { LifecycleParams } from '@berth/protocol/api/lifecycle'
import type { WarmPool } from '@berth/protocol/api/warm-pool'
import { openOciDriver, type SandboxDriver } from '@berth/sandbox'
import type { JsonRequest } from '../test/harness/berth-api.ts'
import { endSession } from '../test/harness/end-session.ts'
import { poll } from './poll.ts'
import { type LogLevel, ServerProcess } from './server-process.ts'

export interface Berth extends AsyncDisposable {
  readonly client: Anthropic
  readonly url: string
  readonly apiKey: string
  readonly dataDir: string
  readonly server: ServerProcess
  /** Of all its sandboxes. */
  readonly stateDir: string
  /** The driver over the same state, as a second server would have it: to look at sandboxes from outside. */
  openDriver(): Promise<SandboxDriver>
  fetch(path: string, init?: JsonRequest): Promise<Response>
  /** Resolves when no sandbox is left. */
  untilPutAway(): Promise<unknown>
  /** Makes a session; with a prompt, one whose first turn begins at once. */
  createSession(prompt?: string): Promise<string>
  /** Deletes it, in mid-turn too, and waits until nothing of its sandbox is left. */
  removeSession(id: string): Promise<void>
}

/** What every bench's agent has; the bare CLI gets the same tools. */
export const MODEL = 'claude-sonnet-5-5'
export const TOOLS = ['Bash', 'Read', 'Write', 'Edit', 'Glob', 'Grep']

/** Sandboxes stay, and nothing is saved beside what is measured. */
const UNDISTURBED = { type: 'long_running', checkpoint_after: 604_800 } as const

export interface BerthSettings {
  readonly logLevel?: LogLevel
  /** Of every session's environment. */
  readonly lifecycle?: LifecycleParams
  /** One sandbox is kept warm, with the agent's CLI in it or without. */
  readonly warm?: 'with_cli' | 'without_cli' | undefined
}

/** Disposing it ends everything of it. */
export async function startBerthFor(modelUrl: string, settings: BerthSettings = {}): Promise<Berth> {
  const { logLevel = 'warn', lifecycle = UNDISTURBED, warm } = settings
  await using opened = new AsyncDisposableStack()
  const dataDir = await mkdtemp(join(tmpdir(), 'bb-'))
  opened.defer(() => rm(dataDir, { recursive: true, force: true }))
  const server = opened.use(await ServerProcess.start({ dataDir, modelUrl, logLevel }))
  const { url, apiKey } = server
  const client = new Anthropic({ baseURL: url, apiKey, authToken: null, maxRetries: 0 })
  const agent = await client.beta.agents.create({ name: 'bench', model: MODEL, tools: agentTools })
  const environment = await client.beta.environments.create({
    name: 'bench',
    config: environmentConfig(lifecycle, warm && { size: 1, agent: warm === 'with_cli' ? agent.id : null }),
  })
  const sandboxes = ociOptions({ dataDir })
  const parts = opened.move()
  return {
    client,
    url,
    apiKey,
    dataDir,
    server,
    stateDir: sandboxes.stateDir,
    openDriver: () => openOciDriver(sandboxes),
    fetch: (path, init) =>
      fetch(`${url}${path}`, { ...init, headers: { ...init?.headers, authorization: `Bearer ${apiKey}` } }),
    untilPutAway: () =>
      poll('every sandbox is put away', async () => (await count(sandboxes.stateDir)) === 0 || undefined),
    createSession: async (prompt) => {
      const session = await client.beta.sessions.create({
        agent: agent.id,
        environment_id: environment.id,
        ...(prompt === undefined ? {} : { initial_events: [userMessage(prompt)] }),
      })
      return session.id
    },
    removeSession: (id) => removeSession(client, id, sandboxes.stateDir),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

function environmentConfig(lifecycle: LifecycleParams, warm_pool: WarmPool = { size: 0, agent: null }) {
  const berth = { lifecycle, warm_pool }
  return { type: 'cloud' as const, networking: { type: 'limited' as const, allowed_hosts: [] }, berth }
}

const agentTools: Anthropic.Beta.AgentCreateParams['tools'] = [
  {
    type: 'agent_toolset_20260401',
    configs: [
      { name: 'web_fetch', enabled: false },
      { name: 'web_search', enabled: false },
    ],
  },
]

export function userMessage(text: string): { type: 'user.message'; content: { type: 'text'; text: string }[] } {
  return { type: 'user.message', content: [{ type: 'text', text }] }
}

async function removeSession(client: Anthropic, id: string, sandboxes: string): Promise<void> {
  const fewer = Math.max(0, (await count(sandboxes)) - 1)
  await endSession(client, id)
  while ((await count(sandboxes)) > fewer) await sleep(10)
}

async function count(dir: string): Promise<number> {
  const names = await readdir(dir).catch(() => [])
  return names.filter((name) => name.startsWith('sbx_') || name.startsWith('.dead.')).length
}
