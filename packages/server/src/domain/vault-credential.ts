/** Credentials: how one is read, changed and shown, and what the gateway is told of it. Secrets are here only between a request and its seal. */
import {
  type AuthOf,
  type CreateAuth,
  type Credential,
  credentialAuth,
  type CredentialAuth,
} from '@berth/protocol/api/vault-credential'
import { credentialSecrets, type GatewayCredential } from '@berth/protocol/gateway-vault'
import type { z } from 'zod'
import { acceptMcpUrl, acceptTokenEndpoint, endOf, readVariable } from './credential-parts.ts'
import { parseMetadata } from './vault.ts'

export type SecretsOf<Type extends CredentialAuth['type']> = z.infer<(typeof credentialSecrets)[Type]>

/** A credential's two halves: what is shown, and what is sealed. */
export type OpenCredential =
  | { readonly auth: AuthOf<'environment_variable'>; readonly secrets: SecretsOf<'environment_variable'> }
  | { readonly auth: AuthOf<'static_bearer'>; readonly secrets: SecretsOf<'static_bearer'> }
  | { readonly auth: AuthOf<'mcp_oauth'>; readonly secrets: SecretsOf<'mcp_oauth'> }

/** A row of `vault_credentials`, without what is sealed. */
export interface StoredCredential {
  readonly ord: number
  readonly id: string
  readonly vault_id: string
  readonly display_name: string | null
  /** JSON, as is the next. */
  readonly auth: string
  readonly metadata: string
  readonly version: number
  readonly created_at: string
  readonly updated_at: string
  readonly archived_at: string | null
}

/** Throws `invalid_request` naming the field. */
export function newCredential(params: CreateAuth, now: Date): OpenCredential {
  switch (params.type) {
    case 'environment_variable':
      return readVariable(params)
    case 'static_bearer': {
      const { type, token } = params
      return { auth: { type, mcp_server_url: acceptMcpUrl(params.mcp_server_url) }, secrets: { token } }
    }
    case 'mcp_oauth':
      return newOauth(params, now)
    default:
      return params satisfies never
  }
}

function newOauth(params: Extract<CreateAuth, { type: 'mcp_oauth' }>, now: Date): OpenCredential {
  const { type, access_token } = params
  const refresh = params.refresh ?? null
  const endpointAuth = refresh?.token_endpoint_auth
  const client_secret = endpointAuth === undefined || endpointAuth.type === 'none' ? null : endpointAuth.client_secret
  return {
    auth: {
      type,
      mcp_server_url: acceptMcpUrl(params.mcp_server_url),
      expires_at: endOf(params.expires_at, now),
      refresh: refresh && {
        client_id: refresh.client_id,
        token_endpoint: acceptTokenEndpoint(refresh.token_endpoint),
        token_endpoint_auth: { type: refresh.token_endpoint_auth.type },
        resource: refresh.resource || null,
        scope: refresh.scope || null,
      },
    },
    secrets: { access_token, refresh_token: refresh?.refresh_token ?? null, client_secret },
  }
}

/** What only one active credential of a vault may have: two that are for the same could not be told apart. */
export function slotOf(auth: CredentialAuth): string {
  return auth.type === 'environment_variable' ? `variable ${auth.secret_name}` : `server ${auth.mcp_server_url}`
}

/** The field that makes the slot, and what is in it. */
export function keyOf(auth: CredentialAuth): { field: string; value: string } {
  return auth.type === 'environment_variable'
    ? { field: 'auth.secret_name', value: auth.secret_name }
    : { field: 'auth.mcp_server_url', value: auth.mcp_server_url }
}

export function parseAuth(json: string): CredentialAuth {
  return credentialAuth.parse(JSON.parse(json))
}

/** `json`: of the secrets, as they were sealed. */
export function toOpen(auth: CredentialAuth, json: string): OpenCredential {
  const secrets: unknown = JSON.parse(json)
  switch (auth.type) {
    case 'environment_variable':
      return { auth, secrets: credentialSecrets.environment_variable.parse(secrets) }
    case 'static_bearer':
      return { auth, secrets: credentialSecrets.static_bearer.parse(secrets) }
    case 'mcp_oauth':
      return { auth, secrets: credentialSecrets.mcp_oauth.parse(secrets) }
    default:
      return auth satisfies never
  }
}

export function toWireCredential(stored: StoredCredential): Credential {
  return {
    id: stored.id,
    type: 'vault_credential',
    vault_id: stored.vault_id,
    display_name: stored.display_name,
    auth: parseAuth(stored.auth),
    metadata: parseMetadata(stored.metadata),
    created_at: stored.created_at,
    updated_at: stored.updated_at,
    archived_at: stored.archived_at,
  }
}

export function toGatewayCredential(
  stored: Pick<StoredCredential, 'id' | 'version' | 'auth'> & { readonly sealed: string },
): GatewayCredential {
  const { id, version, sealed } = stored
  const auth = parseAuth(stored.auth)
  const kept = { id, version, sealed }
  switch (auth.type) {
    case 'environment_variable': {
      const { type, secret_name, networking, injection_location } = auth
      return { ...kept, type, secret_name, hosts: networking.allowed_hosts, injection: injection_location }
    }
    case 'static_bearer':
      return { ...kept, ...auth }
    case 'mcp_oauth': {
      const refresh = auth.refresh && { ...auth.refresh, token_endpoint_auth: auth.refresh.token_endpoint_auth.type }
      return { ...kept, ...auth, refresh }
    }
    default:
      return auth satisfies never
  }
}
