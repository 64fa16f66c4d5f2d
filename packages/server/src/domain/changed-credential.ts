/** What an update makes of a credential: what is left out, or null, is kept. */
import { isDeepStrictEqual } from 'node:util'
import type { UpdateAuth } from '@berth/protocol/api/vault-credential'
import { acceptHosts, acceptInjection, checkCarried, endOf } from './credential-parts.ts'
import { invalid } from './refusal.ts'
import type { OpenCredential } from './vault-credential.ts'

type Of<Type extends OpenCredential['auth']['type']> = Extract<OpenCredential, { auth: { type: Type } }>
type ParamsOf<Type extends UpdateAuth['type']> = Extract<UpdateAuth, { type: Type }>

export interface ChangedCredential {
  readonly credential: OpenCredential
  readonly secretsChanged: boolean
}

/** Throws `invalid_request` naming the field. */
export function changedCredential(current: OpenCredential, params: UpdateAuth, now: Date): ChangedCredential {
  const credential = apply(current, params, now)
  return { credential, secretsChanged: !isDeepStrictEqual(credential.secrets, current.secrets) }
}

function apply(current: OpenCredential, params: UpdateAuth, now: Date): OpenCredential {
  if (isVariable(current)) {
    if (params.type === 'environment_variable') return changedVariable(current, params)
  } else if (isBearer(current)) {
    if (params.type === 'static_bearer')
      return { ...current, secrets: { token: params.token ?? current.secrets.token } }
  } else if (params.type === 'mcp_oauth') return changedOauth(current, params, now)
  throw invalid('auth.type', `is ${current.auth.type} and cannot be changed`)
}

function isVariable(credential: OpenCredential): credential is Of<'environment_variable'> {
  return credential.auth.type === 'environment_variable'
}

function isBearer(credential: Exclude<OpenCredential, Of<'environment_variable'>>): credential is Of<'static_bearer'> {
  return credential.auth.type === 'static_bearer'
}

function changedVariable(
  { auth, secrets }: Of<'environment_variable'>,
  params: ParamsOf<'environment_variable'>,
): OpenCredential {
  const networking = params.networking ? acceptHosts(params.networking) : auth.networking
  const injection_location = acceptInjection(params.injection_location ?? {}, auth.injection_location)
  const secret_value = params.secret_value ?? secrets.secret_value
  checkCarried(secret_value, injection_location)
  return { auth: { ...auth, networking, injection_location }, secrets: { secret_value } }
}

function changedOauth({ auth, secrets }: Of<'mcp_oauth'>, params: ParamsOf<'mcp_oauth'>, now: Date): OpenCredential {
  const { refresh } = params
  if (refresh && auth.refresh === null) throw invalid('auth.refresh', 'the credential has none to change')
  const client_secret = refresh?.token_endpoint_auth?.client_secret
  const endpointAuth = auth.refresh?.token_endpoint_auth.type
  if (refresh?.token_endpoint_auth !== undefined && endpointAuth === 'none') {
    throw invalid('auth.refresh.token_endpoint_auth', 'is none and cannot be changed')
  }
  const scope = refresh?.scope
  return {
    auth: {
      ...auth,
      // Null says that it is not known, as it is of a new token.
      expires_at: params.expires_at === undefined ? auth.expires_at : endOf(params.expires_at, now),
      refresh: auth.refresh && { ...auth.refresh, scope: scope == null ? auth.refresh.scope : scope || null },
    },
    secrets: {
      access_token: params.access_token ?? secrets.access_token,
      refresh_token: refresh?.refresh_token ?? secrets.refresh_token,
      client_secret: client_secret ?? secrets.client_secret,
    },
  }
}
