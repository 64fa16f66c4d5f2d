/**
 * Our schemas against the official client's types, both ways: what we answer must be what the client expects, and whatever the client
 * lets its user write must be readable here. The compiler does the checking; vitest only makes the file a test.
 */
import type * as Agents from '@anthropic-ai/sdk/resources/beta/agents/agents'
import type * as Environments from '@anthropic-ai/sdk/resources/beta/environments/environments'
import type * as Events from '@anthropic-ai/sdk/resources/beta/sessions/events'
import type * as Sessions from '@anthropic-ai/sdk/resources/beta/sessions/sessions'
import type * as Credentials from '@anthropic-ai/sdk/resources/beta/vaults/credentials'
import type * as Vaults from '@anthropic-ai/sdk/resources/beta/vaults/vaults'
import type { Agent, createAgentBody, updateAgentBody } from '@berth/protocol/api/agent'
import type { clientEvent } from '@berth/protocol/api/client-event'
import type { createEnvironmentBody, Environment, updateEnvironmentBody } from '@berth/protocol/api/environment'
import type { EventDelta, EventStart, SessionEvent, StreamFrame } from '@berth/protocol/api/event'
import type { Page } from '@berth/protocol/api/page'
import type { createSessionBody, Session, updateSessionBody } from '@berth/protocol/api/session'
import type { createVaultBody, updateVaultBody, Vault, vaultDeleted } from '@berth/protocol/api/vault'
import type {
  createCredentialBody,
  Credential,
  credentialDeleted,
  CredentialValidation,
  updateCredentialBody,
} from '@berth/protocol/api/vault-credential'
import { expectTypeOf, test } from 'vitest'
import type { z } from 'zod'

type Body<Params> = Omit<Params, 'betas' | 'workspace_id'>
/** The same, where the vault stands in the path. */
type InVault<Params> = Omit<Body<Params>, 'vault_id'>

test('what we answer is what the client expects', () => {
  // Types of events that the client does not know are for it to pass on.
  type Known<Frame extends { type: string }> = Exclude<Frame, { type: `berth.${string}` }>
  expectTypeOf<Known<SessionEvent>>().toExtend<Events.BetaManagedAgentsSessionEvent>()
  expectTypeOf<Known<StreamFrame>>().toExtend<Events.BetaManagedAgentsStreamSessionEvents>()
  expectTypeOf<EventStart>().toExtend<Sessions.BetaManagedAgentsStartEvent>()
  expectTypeOf<EventDelta>().toExtend<Sessions.BetaManagedAgentsDeltaEvent>()
  expectTypeOf<Agent>().toExtend<Agents.BetaManagedAgentsAgent>()
  expectTypeOf<Environment>().toExtend<Environments.BetaEnvironment>()
  expectTypeOf<Page<Agent>>().toExtend<Pick<Agents.BetaManagedAgentsAgentsPageCursor, 'data' | 'next_page'>>()
  expectTypeOf<Session>().toExtend<Sessions.BetaManagedAgentsSession>()
  expectTypeOf<Vault>().toExtend<Vaults.BetaManagedAgentsVault>()
  expectTypeOf<z.infer<typeof vaultDeleted>>().toExtend<Vaults.BetaManagedAgentsDeletedVault>()
  expectTypeOf<Credential>().toExtend<Credentials.BetaManagedAgentsCredential>()
  expectTypeOf<z.infer<typeof credentialDeleted>>().toExtend<Credentials.BetaManagedAgentsDeletedCredential>()
  expectTypeOf<CredentialValidation>().toExtend<Credentials.BetaManagedAgentsCredentialValidation>()
})

test('what the client lets its user write can be read', () => {
  expectTypeOf<Body<Agents.AgentCreateParams>>().toExtend<z.input<typeof createAgentBody>>()
  expectTypeOf<Body<Agents.AgentUpdateParams>>().toExtend<z.input<typeof updateAgentBody>>()
  expectTypeOf<Body<Environments.EnvironmentCreateParams>>().toExtend<z.input<typeof createEnvironmentBody>>()
  expectTypeOf<Body<Environments.EnvironmentUpdateParams>>().toExtend<z.input<typeof updateEnvironmentBody>>()
  expectTypeOf<Body<Sessions.SessionCreateParams>>().toExtend<z.input<typeof createSessionBody>>()
  expectTypeOf<Body<Sessions.SessionUpdateParams>>().toExtend<z.input<typeof updateSessionBody>>()
  expectTypeOf<Body<Vaults.VaultCreateParams>>().toExtend<z.input<typeof createVaultBody>>()
  expectTypeOf<Body<Vaults.VaultUpdateParams>>().toExtend<z.input<typeof updateVaultBody>>()
  expectTypeOf<Body<Credentials.CredentialCreateParams>>().toExtend<z.input<typeof createCredentialBody>>()
  expectTypeOf<InVault<Credentials.CredentialUpdateParams>>().toExtend<z.input<typeof updateCredentialBody>>()
  expectTypeOf<Events.BetaManagedAgentsEventParams>().toExtend<z.input<typeof clientEvent>>()
})
