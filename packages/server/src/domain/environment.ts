/** What an environment comes to: defaults filled in, what is not offered refused, updates merged level by level. */
import { isDeepStrictEqual } from 'node:util'
import {
  type BerthEnvironmentParams,
  type CloudConfigParams,
  type CreateEnvironmentBody,
  defaultResources,
  type Environment,
  environment,
  type EnvironmentConfig,
  packageManagers,
  type PackagesParams,
  type UpdateEnvironmentBody,
} from '@berth/protocol/api/environment'
import type { WarmPoolParams } from '@berth/protocol/api/warm-pool'
import type { z } from 'zod'
import { acceptLifecycle, defaultLifecycle } from './lifecycle.ts'
import { patchMetadata } from './metadata.ts'
import { acceptNetworking, nowhere } from './networking.ts'
import { invalid, unsupported } from './refusal.ts'
import { acceptSettingSources } from './setting-sources.ts'
import { noWarmPool } from './warm-pool.ts'

const environmentBody = environment.pick({ name: true, description: true, config: true, metadata: true })
export type EnvironmentBody = z.infer<typeof environmentBody>

export interface StoredEnvironment {
  readonly ord: number
  readonly id: string
  /** JSON of an `EnvironmentBody`. */
  readonly body: string
  readonly created_at: string
  readonly updated_at: string
  readonly archived_at: string | null
}

export function parseEnvironmentBody(json: string): EnvironmentBody {
  return environmentBody.parse(JSON.parse(json))
}

export function toWireEnvironment(stored: StoredEnvironment): Environment {
  return {
    ...parseEnvironmentBody(stored.body),
    id: stored.id,
    type: 'environment',
    scope: 'organization',
    created_at: stored.created_at,
    updated_at: stored.updated_at,
    archived_at: stored.archived_at,
  }
}

const DEFAULT_MODEL_RETRIES = 10

const defaultConfig: EnvironmentConfig = {
  type: 'cloud',
  networking: nowhere,
  packages: { type: 'packages', apt: [], cargo: [], gem: [], go: [], npm: [], pip: [] },
  berth: {
    driver: null,
    image: null,
    resources: defaultResources,
    model_retries: DEFAULT_MODEL_RETRIES,
    on_interrupted_turn: 'continue',
    lifecycle: defaultLifecycle,
    warm_pool: noWarmPool,
    setting_sources: [],
  },
}

export function newEnvironment(body: CreateEnvironmentBody): EnvironmentBody {
  refuseScope(body.scope)
  if (body.config?.type === 'self_hosted') throw unsupported('config.type', 'self_hosted is not supported yet')
  return {
    name: body.name,
    description: body.description ?? null,
    config: body.config ? acceptConfig(body.config, defaultConfig) : defaultConfig,
    metadata: body.metadata ?? {},
  }
}

/** The same object when the update changes nothing. */
export function updatedEnvironment(current: EnvironmentBody, body: UpdateEnvironmentBody): EnvironmentBody {
  refuseScope(body.scope)
  if (body.config?.type === 'self_hosted') {
    throw invalid('config.type', 'cannot be changed', 'invalid_config_type_change')
  }
  const updated: EnvironmentBody = {
    name: body.name ?? current.name,
    description: body.description === undefined ? current.description : body.description,
    config: body.config ? acceptConfig(body.config, current.config) : current.config,
    metadata: patchMetadata(current.metadata, body.metadata, (value) => value === null || value === ''),
  }
  return isDeepStrictEqual(updated, current) ? current : updated
}

function refuseScope(scope: 'organization' | 'account' | null | undefined): void {
  if (scope === 'account') throw invalid('scope', 'account is not allowed here; use organization')
}

function acceptConfig(params: CloudConfigParams, current: EnvironmentConfig): EnvironmentConfig {
  refusePackages(params.packages)
  return {
    ...current,
    networking: acceptNetworking(params.networking, current.networking),
    berth: params.berth ? acceptBerth(params.berth, current.berth) : current.berth,
  }
}

function refusePackages(packages: PackagesParams | null | undefined): void {
  const named = packageManagers.find((manager) => (packages?.[manager] ?? []).length > 0)
  if (named !== undefined) throw unsupported(`config.packages.${named}`, 'packages are not supported yet')
}

type Berth = EnvironmentConfig['berth']

function acceptBerth(params: BerthEnvironmentParams, current: Berth): Berth {
  const { resources } = params
  const warm_pool = params.warm_pool === null ? noWarmPool : acceptWarmPool(params.warm_pool ?? {}, current.warm_pool)
  return {
    driver: params.driver === undefined ? current.driver : params.driver,
    image: params.image === undefined ? current.image : params.image,
    resources: resources === null ? defaultResources : acceptResources(resources ?? {}, current.resources),
    model_retries: orDefault(params.model_retries, current.model_retries, DEFAULT_MODEL_RETRIES),
    on_interrupted_turn: orDefault(params.on_interrupted_turn, current.on_interrupted_turn, 'continue'),
    lifecycle:
      params.lifecycle === null
        ? defaultLifecycle
        : acceptLifecycle(params.lifecycle ?? {}, current.lifecycle, 'config.berth.lifecycle'),
    warm_pool,
    setting_sources: acceptSettingSources(params.setting_sources, current.setting_sources, warm_pool),
  }
}

function acceptResources(
  params: NonNullable<BerthEnvironmentParams['resources']>,
  current: Berth['resources'],
): Berth['resources'] {
  return {
    cpus: orDefault(params.cpus, current.cpus, defaultResources.cpus),
    memory_mib: orDefault(params.memory_mib, current.memory_mib, defaultResources.memory_mib),
    disk_mib: orDefault(params.disk_mib, current.disk_mib, defaultResources.disk_mib),
    pids: orDefault(params.pids, current.pids, defaultResources.pids),
    files: orDefault(params.files, current.files, defaultResources.files),
  }
}

function acceptWarmPool(params: WarmPoolParams, current: Berth['warm_pool']): Berth['warm_pool'] {
  return {
    size: orDefault(params.size, current.size, noWarmPool.size),
    agent: params.agent === undefined ? current.agent : params.agent,
  }
}

/** Omitted keeps, null restores the default. */
function orDefault<Value>(wanted: Value | null | undefined, current: Value, fallback: Value): Value {
  if (wanted === undefined) return current
  return wanted === null ? fallback : wanted
}
