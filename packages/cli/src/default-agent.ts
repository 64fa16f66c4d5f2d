import type { Anthropic } from '@anthropic-ai/sdk'
import { CommandError } from './exit.ts'

/** The name under which `run` and `quickstart` find their agent and environment again. */
export const DEFAULT_NAME = 'berth-cli'
export const DEFAULT_MODEL = 'claude-sonnet-5-5'

/** The sandbox has no network of its own, so the tools that need one are off. */
const tools: Anthropic.Beta.AgentCreateParams['tools'] = [
  {
    type: 'agent_toolset_20260401',
    configs: [
      { name: 'web_fetch', enabled: false },
      { name: 'web_search', enabled: false },
    ],
  },
]

export interface AgentChoice {
  /** Id or name of an agent that exists. */
  readonly agent?: string
  readonly model?: string
  readonly system?: string
}

/** What `sessions.create` takes as `agent`. Without a named agent, the CLI's own is made or brought up to date, as a new version. */
export async function agentFor(
  client: Anthropic,
  choice: AgentChoice,
): Promise<Anthropic.Beta.SessionCreateParams['agent']> {
  if (choice.agent !== undefined) {
    const id = await agentId(client, choice.agent)
    if (choice.model === undefined && choice.system === undefined) return id
    return {
      type: 'agent_with_overrides',
      id,
      ...(choice.model === undefined ? {} : { model: choice.model }),
      ...(choice.system === undefined ? {} : { system: choice.system }),
    }
  }
  const wanted = { name: DEFAULT_NAME, model: choice.model ?? DEFAULT_MODEL, system: choice.system ?? null, tools }
  const known = await findByName(client.beta.agents.list(), DEFAULT_NAME)
  const agent =
    known === undefined ? await client.beta.agents.create(wanted) : await client.beta.agents.update(known.id, wanted)
  return { type: 'agent', id: agent.id, version: agent.version }
}

/** The id of the named environment, or of the CLI's own, which is made when there is none. */
export async function environmentFor(client: Anthropic, named?: string): Promise<string> {
  const { environments } = client.beta
  if (named?.startsWith('env_') === true) return named
  const known = await findByName(environments.list(), named ?? DEFAULT_NAME)
  if (known !== undefined) return known.id
  if (named !== undefined) throw new CommandError(`no environment is named ${named}`)
  const created = await environments.create({
    name: DEFAULT_NAME,
    config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: [] } },
  })
  return created.id
}

async function agentId(client: Anthropic, named: string): Promise<string> {
  if (named.startsWith('agent_')) return named
  const known = await findByName(client.beta.agents.list(), named)
  if (known === undefined) throw new CommandError(`no agent is named ${named}`)
  return known.id
}

async function findByName<T extends { name: string; archived_at: string | null }>(
  all: AsyncIterable<T>,
  name: string,
): Promise<T | undefined> {
  for await (const one of all) if (one.name === name && one.archived_at === null) return one
  return undefined
}
