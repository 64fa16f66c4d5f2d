/** Credentials of a vault. Their secrets are in requests only, and in no answer. */
import { z } from 'zod'
import { metadata, metadataPatch } from './metadata.ts'
import { idText, text, timestamp } from './text.ts'

export const credentialLimits = { credentials: 20, hosts: 16, secret: 8192, url: 2048, name: 128 } as const

const displayName = text({ min: 1, max: 255 })
/** What a header carries as it is. */
const token = z
  .string()
  .min(1)
  .max(credentialLimits.secret)
  .regex(/^[\x21-\x7e]*$/, { error: 'must be printable ASCII without spaces' })
/** For a token endpoint. */
const formSecret = z
  .string()
  .min(1)
  .max(credentialLimits.secret)
  .regex(/^[\x20-\x7e]*$/, { error: 'must be printable ASCII' })
const secretValue = text({ min: 1, max: credentialLimits.secret }).refine(
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  (value) => !/[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(value),
  { error: 'must have no control characters but tabs and line ends' },
)
const url = text({ min: 1, max: credentialLimits.url })
const expiresAt = z.iso.datetime({ offset: true, error: 'must be an RFC 3339 time' }).nullish()
const ofClient = text({ min: 1, max: 1024 })
const optional = text({ max: 2048 }).nullish()

/** `unrestricted` is of the profile, and refused. */
const networkingParams = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('unrestricted') }),
  z.strictObject({ type: z.literal('limited'), allowed_hosts: z.array(z.string().max(512)) }),
])
export type CredentialNetworkingParams = z.infer<typeof networkingParams>

const injectionParams = z.strictObject({ header: z.boolean().optional(), body: z.boolean().optional() })
export type InjectionParams = z.infer<typeof injectionParams>

const endpointAuthParams = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('none') }),
  z.strictObject({ type: z.literal('client_secret_basic'), client_secret: formSecret }),
  z.strictObject({ type: z.literal('client_secret_post'), client_secret: formSecret }),
])

export const createCredentialBody = z
  .strictObject({
    auth: z.discriminatedUnion('type', [
      z.strictObject({
        type: z.literal('mcp_oauth'),
        mcp_server_url: url,
        access_token: token,
        expires_at: expiresAt,
        refresh: z
          .strictObject({
            client_id: ofClient,
            refresh_token: formSecret,
            token_endpoint: url,
            token_endpoint_auth: endpointAuthParams,
            resource: optional,
            scope: optional,
          })
          .nullish(),
      }),
      z.strictObject({ type: z.literal('static_bearer'), mcp_server_url: url, token }),
      z.strictObject({
        type: z.literal('environment_variable'),
        secret_name: z
          .string()
          .min(1)
          .max(credentialLimits.name)
          .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: 'must be the name of a variable (letters, digits and "_")' }),
        secret_value: secretValue,
        networking: networkingParams,
        injection_location: injectionParams.optional(),
      }),
    ]),
    display_name: displayName.nullish(),
    metadata: metadata.optional(),
  })
  .meta({ id: 'CreateCredentialParams' })
export type CreateCredentialBody = z.infer<typeof createCredentialBody>
export type CreateAuth = CreateCredentialBody['auth']

const endpointAuthUpdate = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('client_secret_basic'), client_secret: formSecret.nullish() }),
  z.strictObject({ type: z.literal('client_secret_post'), client_secret: formSecret.nullish() }),
])

export const updateCredentialBody = z
  .strictObject({
    auth: z
      .discriminatedUnion('type', [
        z.strictObject({
          type: z.literal('mcp_oauth'),
          access_token: token.nullish(),
          expires_at: expiresAt,
          refresh: z
            .strictObject({
              refresh_token: formSecret.nullish(),
              scope: optional,
              token_endpoint_auth: endpointAuthUpdate.optional(),
            })
            .nullish(),
        }),
        z.strictObject({ type: z.literal('static_bearer'), token: token.nullish() }),
        z.strictObject({
          type: z.literal('environment_variable'),
          secret_value: secretValue.nullish(),
          networking: networkingParams.nullish(),
          injection_location: injectionParams.optional(),
        }),
      ])
      .optional(),
    display_name: displayName.nullish(),
    metadata: metadataPatch.nullish(),
  })
  .meta({ id: 'UpdateCredentialParams' })
export type UpdateCredentialBody = z.infer<typeof updateCredentialBody>
export type UpdateAuth = NonNullable<UpdateCredentialBody['auth']>

/** A credential as it is shown, and as it is stored beside its sealed secrets. */
export const credentialAuth = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('mcp_oauth'),
    mcp_server_url: z.string(),
    expires_at: timestamp.nullable(),
    refresh: z
      .object({
        client_id: z.string(),
        token_endpoint: z.string(),
        token_endpoint_auth: z.discriminatedUnion('type', [
          z.object({ type: z.literal('none') }),
          z.object({ type: z.literal('client_secret_basic') }),
          z.object({ type: z.literal('client_secret_post') }),
        ]),
        resource: z.string().nullable(),
        scope: z.string().nullable(),
      })
      .nullable(),
  }),
  z.object({ type: z.literal('static_bearer'), mcp_server_url: z.string() }),
  z.object({
    type: z.literal('environment_variable'),
    secret_name: z.string(),
    networking: z.object({ type: z.literal('limited'), allowed_hosts: z.array(z.string()) }),
    injection_location: z.object({ header: z.boolean(), body: z.boolean() }),
  }),
])
export type CredentialAuth = z.infer<typeof credentialAuth>
/** One kind of it, by its type. */
export type AuthOf<Type extends CredentialAuth['type']> = Extract<CredentialAuth, { type: Type }>

export const credential = z
  .object({
    id: idText,
    type: z.literal('vault_credential'),
    vault_id: idText,
    display_name: z.string().nullable(),
    auth: credentialAuth,
    metadata,
    created_at: timestamp,
    updated_at: timestamp,
    archived_at: timestamp.nullable(),
  })
  .meta({ id: 'Credential' })
export type Credential = z.infer<typeof credential>

export const credentialDeleted = z
  .object({ id: idText, type: z.literal('vault_credential_deleted') })
  .meta({ id: 'CredentialDeleted' })

/** A server's answer, without anything secret. */
const seenResponse = z.object({
  status_code: z.int(),
  content_type: z.string(),
  body: z.string(),
  body_truncated: z.boolean(),
})

export const credentialValidation = z
  .object({
    type: z.literal('vault_credential_validation'),
    vault_id: idText,
    credential_id: idText,
    status: z.enum(['valid', 'invalid', 'unknown']),
    has_refresh_token: z.boolean(),
    mcp_probe: z.object({ method: z.string(), http_response: seenResponse.nullable() }).nullable(),
    refresh: z
      .object({
        status: z.enum(['succeeded', 'failed', 'connect_error', 'no_refresh_token']),
        http_response: seenResponse.nullable(),
      })
      .nullable(),
    validated_at: timestamp,
  })
  .meta({ id: 'CredentialValidation' })
export type CredentialValidation = z.infer<typeof credentialValidation>
