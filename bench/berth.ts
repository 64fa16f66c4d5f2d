/** A running Berth, seen as its users see it: a URL, a key, the official client. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Anthropic } from '@anthropic-ai/sdk'
import { ociOptions } from '@berth/cli/programs'
import { controlSocket } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { z } from 'zod'
import { startChild } from './child.ts'

export interface Berth extends AsyncDisposable {
  readonly client: Anthropic
  readonly url: string
  readonly apiKey: string
  readonly dataDir: string
  /** Server and gateway. Everything of the sandboxes descends from the server. */
  readonly serverPid: number
  readonly gatewayPid: number
  /** Makes a session; with a prompt, one whose first turn begins at once. */
  createSession(prompt?: string): Promise<string>
  /** Deletes it and waits until nothing of its sandbox is left. */
  removeSession(id: string): Promise<void>
}

/** What every bench's agent has; the bare CLI gets the same tools. */
export const MODEL = 'claude-sonnet-5-5'
export const TOOLS = ['Bash', 'Read', 'Write', 'Edit', 'Glob', 'Grep']

const program = fileURLToPath(new URL('./programs/berth.ts', import.meta.url))

export async function startBerthFor(modelUrl: string): Promise<Berth> {
  await using opened = new AsyncDisposableStack()
  const dataDir = await mkdtemp(join(tmpdir(), 'bb-'))
  opened.defer(() => rm(dataDir, { recursive: true, force: true }))
  const ready = z.object({ url: z.string(), apiKey: z.string() })
  const child = opened.use(await startChild([program, dataDir, modelUrl], ready))
  const { url, apiKey } = child.ready
  const client = new Anthropic({ baseURL: url, apiKey, authToken: null, maxRetries: 0 })
  const agent = await client.beta.agents.create({ name: 'bench', model: MODEL, tools: agentTools })
  const environment = await client.beta.environments.create({
    name: 'bench',
    config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: [] } },
  })
  const gateway = await openGatewayClient(controlSocket(join(dataDir, 'gateway'))).health()
  const parts = opened.move()
  return {
    client,
    url,
    apiKey,
    dataDir,
    serverPid: child.pid,
    gatewayPid: gateway.pid,
    createSession: async (prompt) => {
      const session = await client.beta.sessions.create({
        agent: agent.id,
        environment_id: environment.id,
        ...(prompt === undefined ? {} : { initial_events: [userMessage(prompt)] }),
      })
      return session.id
    },
    removeSession: (id) => removeSession(client, id, ociOptions({ dataDir }).stateDir),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
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
  await client.beta.sessions.delete(id)
  while ((await count(sandboxes)) > fewer) await sleep(10)
}

async function count(dir: string): Promise<number> {
  const names = await readdir(dir).catch(() => [])
  return names.filter((name) => name.startsWith('sbx_') || name.startsWith('.dead.')).length
}
