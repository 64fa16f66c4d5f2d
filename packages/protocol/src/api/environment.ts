/** Environments: where and how their sandboxes live. */
import { z } from 'zod'
import { lifecycle, lifecycleParams } from './lifecycle.ts'
import { metadata, metadataPatch } from './metadata.ts'
import { idText, text, timestamp } from './text.ts'
import { warmPool, warmPoolParams } from './warm-pool.ts'

const name = text({ min: 1, max: 256 })
const description = text({ max: 2048 }).nullish()
const scope = z.enum(['organization', 'account']).nullish()

const host = text({ max: 255 })
const flag = z.boolean().nullish()
const networkingParams = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('unrestricted') }),
  z.strictObject({
    type: z.literal('limited'),
    allowed_hosts: z.array(host).max(1000).nullish(),
    allow_mcp_servers: flag,
    allow_package_managers: flag,
  }),
])
export type NetworkingParams = z.infer<typeof networkingParams>

export const packageManagers = ['apt', 'cargo', 'gem', 'go', 'npm', 'pip'] as const
export type PackageManager = (typeof packageManagers)[number]
const packageList = z
  .array(text({ min: 1, max: 255 }))
  .max(1000)
  .nullish()
const packagesParams = z.strictObject({
  type: z.literal('packages').optional(),
  apt: packageList,
  cargo: packageList,
  gem: packageList,
  go: packageList,
  npm: packageList,
  pip: packageList,
})
export type PackagesParams = z.infer<typeof packagesParams>

/** What a session of the environment gets. Sizes in MiB. */
export const resources = z.strictObject({
  cpus: z.number().min(0.1).max(256),
  memory_mib: z.int().min(256).max(1_048_576),
  disk_mib: z.int().min(256).max(16_777_216),
  pids: z.int().min(64).max(32_768),
  /** Open files per process. */
  files: z.int().min(256).max(1_048_576),
})
export type Resources = z.infer<typeof resources>

export const defaultResources: Resources = { cpus: 1, memory_mib: 1024, disk_mib: 5120, pids: 512, files: 4096 }

/** Whose files in the workspace may configure agents, in the words of the Agent SDK. */
export const settingSources = ['project', 'local'] as const
const settingSource = z.enum(settingSources)
export type SettingSource = z.infer<typeof settingSource>

/** Ours: what the profile cannot say. `null` restores a default. */
const berthParams = z.strictObject({
  /** Which driver makes the sandboxes; default: the server's. */
  driver: text({ min: 1, max: 64 })
    .regex(/^[a-z0-9-]+$/, { error: 'must be the name of a driver' })
    .nullish(),
  /** A prepared root file system that the driver knows; default: the machine's own `/usr` on a skeleton. */
  image: text({ min: 1, max: 1024 }).nullish(),
  resources: z
    .strictObject({
      cpus: resources.shape.cpus.nullish(),
      memory_mib: resources.shape.memory_mib.nullish(),
      disk_mib: resources.shape.disk_mib.nullish(),
      pids: resources.shape.pids.nullish(),
      files: resources.shape.files.nullish(),
    })
    .nullish(),
  /** How often a failed model request is repeated. */
  model_retries: z.int().min(0).max(10).nullish(),
  /** What becomes of a turn whose process or sandbox was lost in the middle. */
  on_interrupted_turn: z.enum(['continue', 'rerun', 'stop']).nullish(),
  lifecycle: lifecycleParams.nullish(),
  warm_pool: warmPoolParams.nullish(),
  /** Default: none, and no file of a sandbox configures an agent. The list replaces the one before. */
  setting_sources: z
    .array(z.enum([...settingSources, 'user']))
    .max(3)
    .nullish(),
})
export type BerthEnvironmentParams = z.infer<typeof berthParams>

const cloudParams = z.strictObject({
  type: z.literal('cloud'),
  networking: networkingParams.nullish(),
  packages: packagesParams.nullish(),
  berth: berthParams.nullish(),
})
export type CloudConfigParams = z.infer<typeof cloudParams>

export const environmentConfigParams = z.discriminatedUnion('type', [
  cloudParams,
  z.strictObject({ type: z.literal('self_hosted') }),
])

export const createEnvironmentBody = z
  .strictObject({
    name,
    description,
    config: environmentConfigParams.nullish(),
    metadata: metadata.optional(),
    scope,
  })
  .meta({ id: 'CreateEnvironmentParams' })
export type CreateEnvironmentBody = z.infer<typeof createEnvironmentBody>

/** Omitted keeps, at every level. A metadata key set to null or an empty string is deleted. */
export const updateEnvironmentBody = z
  .strictObject({
    name: name.nullish(),
    description,
    config: environmentConfigParams.nullish(),
    metadata: metadataPatch.optional(),
    scope,
  })
  .meta({ id: 'UpdateEnvironmentParams' })
export type UpdateEnvironmentBody = z.infer<typeof updateEnvironmentBody>

const networking = z.discriminatedUnion('type', [
  z.object({ type: z.literal('unrestricted') }),
  z.object({
    type: z.literal('limited'),
    allowed_hosts: z.array(z.string()),
    allow_mcp_servers: z.boolean(),
    allow_package_managers: z.boolean(),
  }),
])
export type Networking = z.infer<typeof networking>

const packages = z.array(z.string())

export const environmentConfig = z
  .object({
    type: z.literal('cloud'),
    networking,
    packages: z.object({
      type: z.literal('packages'),
      apt: packages,
      cargo: packages,
      gem: packages,
      go: packages,
      npm: packages,
      pip: packages,
    }),
    berth: z.object({
      driver: z.string().nullable(),
      image: z.string().nullable(),
      resources,
      model_retries: z.int(),
      on_interrupted_turn: z.enum(['continue', 'rerun', 'stop']),
      lifecycle,
      warm_pool: warmPool,
      setting_sources: z.array(settingSource),
    }),
  })
  .meta({ id: 'EnvironmentConfig' })
export type EnvironmentConfig = z.infer<typeof environmentConfig>

export const environment = z
  .object({
    id: idText,
    type: z.literal('environment'),
    name: z.string(),
    description: z.string().nullable(),
    config: environmentConfig,
    metadata,
    scope: z.literal('organization'),
    created_at: timestamp,
    updated_at: timestamp,
    archived_at: timestamp.nullable(),
  })
  .meta({ id: 'Environment' })
export type Environment = z.infer<typeof environment>

export const environmentDeleted = z
  .object({ id: idText, type: z.literal('environment_deleted') })
  .meta({ id: 'EnvironmentDeleted' })
