/** A request of every route that would be taken, were it not for what the attack changes. */
import { z } from 'zod'
import type { TestServer } from '../../../packages/server/test/serve-app.ts'
import { nameOf, paramsOf, type Route } from './routes.ts'

/** Ids by the name of the parameter that takes them. */
export type Ids = Readonly<Record<string, string>>

export interface Ask {
  readonly method: string
  readonly path: string
  readonly body?: string
  readonly type?: string
}

const FILE = 'test/security/api/request.ts'

/** Parameters that are no ids of objects. */
const constants: Ids = { port: '8000' }

/** What routes with a body take. */
const bodies: Readonly<Record<string, (ids: Ids) => unknown>> = {
  'POST /v1/agents': () => ({ name: 'A', model: 'm' }),
  'POST /v1/agents/:agent_id': () => ({ name: 'B', version: 1 }),
  'POST /v1/environments': () => ({ name: 'e' }),
  'POST /v1/environments/:environment_id': () => ({ name: 'f' }),
  'POST /v1/sessions': (ids) => ({ agent: ids.agent_id, environment_id: ids.environment_id }),
  'POST /v1/sessions/:session_id': () => ({ title: 't' }),
  'POST /v1/sessions/:session_id/events': () => ({ events: [{ type: 'user.interrupt' }] }),
  'POST /berth/v1/sessions/:session_id/fork': () => ({ checkpoint_id: 'chkpt_1' }),
  'POST /berth/v1/sessions/:session_id/ports/:port/url': () => ({}),
  'POST /berth/v1/keys': () => ({ name: 'k' }),
  'PUT /berth/v1/sessions/:session_id/files/content': () => 'bytes',
  'POST /v1/vaults': () => ({ display_name: 'v' }),
  'POST /v1/vaults/:vault_id': () => ({ display_name: 'w' }),
  'POST /v1/vaults/:vault_id/credentials': () => ({ auth: variable('B') }),
  'POST /v1/vaults/:vault_id/credentials/:credential_id': () => ({ display_name: 'w' }),
}

function variable(secret_name: string): object {
  const networking = { type: 'limited', allowed_hosts: ['api.example.com'] }
  return { type: 'environment_variable', secret_name, secret_value: 'secret', networking }
}

/** What routes need in their query. */
const queries: Readonly<Record<string, string>> = {
  'GET /berth/v1/sessions/:session_id/files/content': '?path=a',
  'PUT /berth/v1/sessions/:session_id/files/content': '?path=a',
}

/** Of one workspace, one object of every kind that has an id, new. */
export async function newObjects(make: (path: string, body: unknown) => Promise<{ id: string }>): Promise<Ids> {
  const agent_id = (await make('/v1/agents', { name: 'A', model: 'm' })).id
  const environment_id = (await make('/v1/environments', { name: 'e' })).id
  const session_id = (await make('/v1/sessions', { agent: agent_id, environment_id })).id
  const key_id = (await make('/berth/v1/keys', { name: 'k' })).id
  const vault_id = (await make('/v1/vaults', { display_name: 'v' })).id
  const credential_id = (await make(`/v1/vaults/${vault_id}/credentials`, { auth: variable('A') })).id
  return { agent_id, environment_id, session_id, key_id, vault_id, credential_id }
}

/** Ids of the same form that nobody has. */
export function noObjects(like: Ids): Ids {
  return Object.fromEntries(Object.entries(like).map(([name, id]) => [name, id.replace(/[^_]{20}$/, 'Z'.repeat(20))]))
}

export function askOf(route: Route, ids: Ids, described: Described): Ask {
  const name = nameOf(route)
  const path = paramsOf(route).reduce((made, param) => {
    const id = ids[param] ?? constants[param]
    if (id === undefined) throw new Error(`${name}: nobody knows an id for :${param}. Add one to newObjects in ${FILE}`)
    return made.replace(`:${param}`, id)
  }, route.path)
  const wants = described.wantsBody(route)
  const bodyOf = bodies[name]
  if (wants && bodyOf === undefined)
    throw new Error(`${name}: nobody knows a body that it takes. Add one to bodies in ${FILE}`)
  if (described.wantsQuery(route) && queries[name] === undefined) {
    throw new Error(`${name}: nobody knows the query that it needs. Add it to queries in ${FILE}`)
  }
  const body = bodyOf?.(ids)
  return {
    method: route.method,
    path: path + (queries[name] ?? ''),
    ...(body === undefined
      ? {}
      : typeof body === 'string'
        ? { body, type: 'application/octet-stream' }
        : { body: JSON.stringify(body), type: 'application/json' }),
  }
}

const operation = z.object({
  requestBody: z.unknown().optional(),
  parameters: z.array(z.object({ in: z.string().optional(), required: z.boolean().optional() })).default([]),
})
const document = z.object({ paths: z.record(z.string(), z.record(z.string(), operation)) })

/** What the API says of its routes. */
export class Described {
  readonly #paths: z.infer<typeof document>['paths']

  private constructor(paths: z.infer<typeof document>['paths']) {
    this.#paths = paths
  }

  static async of({ url }: TestServer): Promise<Described> {
    return new Described(document.parse(await (await fetch(`${url}/openapi.json`)).json()).paths)
  }

  wantsBody(route: Route): boolean {
    return this.#operation(route).requestBody !== undefined
  }

  wantsQuery(route: Route): boolean {
    return this.#operation(route).parameters.some((one) => one.in === 'query' && one.required === true)
  }

  #operation({ method, path }: Route): z.infer<typeof operation> {
    const found = this.#paths[path.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
    if (found === undefined) throw new Error(`${method} ${path} is not in /openapi.json`)
    return found
  }
}
