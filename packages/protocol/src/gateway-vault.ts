/**
 * Vaults as the gateway keeps them. Whoever has the key of the installation seals the secrets (`sealing.ts`); the gateway opens one when a
 * request needs it, and keeps it nowhere else than sealed.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { canonicalPattern } from './host-pattern.ts'
import { readMcpUrl } from './mcp-url.ts'

const id = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)
const mcpServerUrl = z.string().refine((text) => {
  const reading = readMcpUrl(text)
  return 'url' in reading && reading.url === text
}, 'must be the URL of an MCP server in its canonical form')

const kept = {
  id,
  /** Grows whenever the secret changes. */
  version: z.int().min(1),
  /** Of the type's `secrets`, as JSON, sealed for `sealingContext`. */
  sealed: z.string(),
}

/** Stands in the sandbox as an environment variable with a placeholder; its value goes to these hosts alone, over TLS. */
const environmentVariable = z.strictObject({
  ...kept,
  type: z.literal('environment_variable'),
  secret_name: z.string(),
  hosts: z.array(canonicalPattern).min(1).max(16),
  /** Where in a request a placeholder is replaced. */
  injection: z.strictObject({ header: z.boolean(), body: z.boolean() }),
})
const staticBearer = z.strictObject({ ...kept, type: z.literal('static_bearer'), mcp_server_url: mcpServerUrl })
const mcpOauth = z.strictObject({
  ...kept,
  type: z.literal('mcp_oauth'),
  mcp_server_url: mcpServerUrl,
  /** When the access token ends, RFC 3339; null: not known. */
  expires_at: z.string().nullable(),
  refresh: z
    .strictObject({
      client_id: z.string(),
      token_endpoint: z.string(),
      resource: z.string().nullable(),
      scope: z.string().nullable(),
      token_endpoint_auth: z.enum(['none', 'client_secret_basic', 'client_secret_post']),
    })
    .nullable(),
})

const gatewayCredential = z.discriminatedUnion('type', [environmentVariable, staticBearer, mcpOauth])
export type GatewayCredential = z.infer<typeof gatewayCredential>
export type EnvironmentCredential = z.infer<typeof environmentVariable>
export type McpCredential = z.infer<typeof staticBearer> | z.infer<typeof mcpOauth>

/** What is sealed, by the credential's type. */
export const credentialSecrets = {
  environment_variable: z.strictObject({ secret_value: z.string() }),
  static_bearer: z.strictObject({ token: z.string() }),
  mcp_oauth: z.strictObject({
    access_token: z.string(),
    refresh_token: z.string().nullable(),
    client_secret: z.string().nullable(),
  }),
} as const

/** Credentials that are in force. */
export const gatewayVault = z.strictObject({
  workspace_id: z.string(),
  credentials: z.array(gatewayCredential).max(20),
})
export type GatewayVault = z.infer<typeof gatewayVault>

/** Equal for equal vaults, in whatever order their fields stand, and for no others. */
export function vaultDigest(vault: GatewayVault): string {
  return createHash('sha256')
    .update(JSON.stringify(gatewayVault.parse(vault)))
    .digest('base64url')
}

/** Which vaults the gateway has, in ascending order of their ids. */
export const gatewayVaults = z.object({ vaults: z.array(z.object({ id, digest: z.string() })) })
export type GatewayVaults = z.infer<typeof gatewayVaults>

/** What a server has answered, without anything secret; `body` may be cut. */
const seenResponse = z.object({
  status: z.int(),
  body: z.string(),
  body_truncated: z.boolean(),
  content_type: z.string(),
})

/** What came of trying an OAuth credential at its MCP server. */
export const credentialValidation = z.object({
  status: z.enum(['valid', 'invalid', 'unknown']),
  has_refresh_token: z.boolean(),
  /** The step that failed; null: none did. */
  mcp_probe: z.object({ method: z.string(), http_response: seenResponse.nullable() }).nullable(),
  /** null: none was tried. */
  refresh: z
    .object({
      status: z.enum(['succeeded', 'failed', 'connect_error', 'no_refresh_token']),
      http_response: seenResponse.nullable(),
    })
    .nullable(),
})
export type CredentialValidation = z.infer<typeof credentialValidation>

/** What a credential's secrets are sealed for: moved to another workspace, vault or credential, or put back in an older version, they do not open. */
export function sealingContext(place: {
  readonly workspaceId: string
  readonly vaultId: string
  readonly credentialId: string
  readonly version: number
}): string {
  return JSON.stringify([place.workspaceId, place.vaultId, place.credentialId, place.version])
}
