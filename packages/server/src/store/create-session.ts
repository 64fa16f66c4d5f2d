import { randomUUID } from 'node:crypto'
import type { CreateSessionBody } from '@berth/protocol/api/session'
import type { Prices } from '@berth/protocol/prices'
import { toWireAgent } from '../domain/agent.ts'
import { checkBudgetable } from '../domain/budget.ts'
import { parseEnvironmentBody } from '../domain/environment.ts'
import { invalid } from '../domain/refusal.ts'
import { refuseUnsupportedSession, resolveSessionAgent } from '../domain/session.ts'
import { freshTurn } from '../domain/turn/turn-state.ts'
import { acceptInto } from './accept-events.ts'
import { getAgent } from './agents.ts'
import { getEnvironment } from './environments.ts'
import { checkVaults } from './check-vaults.ts'
import { enterGroup } from './session-groups.ts'
import { type Committed, SessionLog } from './session-log.ts'
import type { Db } from './store.ts'
import { unbegun } from './unbegun.ts'

export interface CreateSessionArgs {
  readonly id: string
  readonly threadId: string
  readonly workspaceId: string
  readonly body: CreateSessionBody
  readonly prices: Prices
  readonly now: string
}

/** The session and its initial events, as one. It keeps copies of the agent and of the environment's config as they stand now. */
export async function createSession(db: Db, args: CreateSessionArgs): Promise<Committed> {
  const { workspaceId, body } = args
  refuseUnsupportedSession(body)
  const { id: agentId, version } = typeof body.agent === 'string' ? { id: body.agent, version: undefined } : body.agent
  const agent = await getAgent(db, { workspaceId, id: agentId, version })
  const environment = await getEnvironment(db, { workspaceId, id: body.environment_id })
  if (agent.archived_at !== null) throw invalid('agent', `${agent.id} is archived`)
  if (environment.archived_at !== null) {
    throw invalid('environment_id', `${environment.id} is archived`, 'environment_archived')
  }
  const vaultIds = body.vault_ids ?? []
  await checkVaults(db, workspaceId, vaultIds)
  const name = body.berth?.sandbox ?? null
  const { config } = parseEnvironmentBody(environment.body)
  const place = { workspaceId, sessionId: args.id, environmentId: environment.id, environment: config, name }
  const effective = resolveSessionAgent(toWireAgent(agent), body.agent, body.berth?.limits)
  const budget = body.budget ?? null
  if (budget !== null) checkBudgetable(args.prices, effective.model.id)
  const row = await db
    .insertInto('sessions')
    .values({
      id: args.id,
      workspace_id: workspaceId,
      environment_id: environment.id,
      ...(await enterGroup(db, place)),
      subdir: name === null ? '' : args.id,
      agent_id: agent.id,
      agent_version: agent.version,
      agent: JSON.stringify(effective),
      title: body.title ?? null,
      metadata: JSON.stringify(body.metadata ?? {}),
      ...unbegun,
      stop_reason: null,
      created_at: args.now,
      updated_at: args.now,
      idle_since: null,
      vault_ids: JSON.stringify(vaultIds),
      thread_id: args.threadId,
      sdk_session_id: randomUUID(),
      name_inside: args.id,
      turn: JSON.stringify(freshTurn),
      budget: budget === null ? null : JSON.stringify(budget),
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  const log = new SessionLog(db, row, args.now)
  for (const event of body.initial_events ?? []) await acceptInto(db, log, event)
  return log.save()
}
