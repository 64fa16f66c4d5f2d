import { expect, test } from 'vitest'
import { configFile, type ConfigSources, loadConfig } from './config.ts'
import { type Setting, settings } from './settings.ts'

const load = (sources: Partial<ConfigSources> = {}) =>
  loadConfig({ flags: {}, env: { HOME: '/home/me' }, isRoot: false, ...sources })
const file = (content: unknown) => ({ path: '/etc/berth.json', text: JSON.stringify(content) })

test('without anything, it runs on loopback with the scripted model', () => {
  expect(load()).toEqual({
    host: '127.0.0.1',
    port: 7071,
    dataDir: '/home/me/.local/state/berth',
    apiKey: undefined,
    model: 'scripted',
    anthropicBaseUrl: 'https://api.anthropic.com',
    anthropicApiKey: undefined,
    upstreamSocket: undefined,
    egressDns: [],
    egressNetworks: [],
    egressCaFile: undefined,
    egressUploadLimit: 4 * 2 ** 30,
    upstreamConnectSeconds: 60,
    upstreamIdleSeconds: 600,
    checkpointsPerSession: 50,
    warmSandboxes: 8,
    allowedHosts: [],
    allowedOrigins: [],
    ports: { listen: undefined, domain: 'localhost' },
    ociRuntime: undefined,
    sandboxHourUsd: 0.05,
    vaultKey: { file: undefined, command: undefined },
    logLevel: 'info',
  })
  expect(load({ isRoot: true }).dataDir).toBe('/var/lib/berth')
  expect(load({ env: { XDG_STATE_HOME: '/s' } }).dataDir).toBe('/s/berth')
  expect(load({ env: { HOME: '/h', ANTHROPIC_API_KEY: 'sk' } }).model).toBe('anthropic')
})

test('flag before variable before file; an empty variable is none', () => {
  const env = { HOME: '/h', BERTH_LISTEN: 'a.example:2', BERTH_LOG_LEVEL: '' }
  const sources = { env, file: file({ listen: '[::1]:3', log_level: 'warn' }) }
  expect(load({ ...sources, flags: { listen: '0.0.0.0:0' } })).toMatchObject({ host: '0.0.0.0', port: 0 })
  expect(load(sources)).toMatchObject({ host: 'a.example', port: 2, logLevel: 'warn' })
  expect(load({ ...sources, env: { HOME: '/h' } })).toMatchObject({ host: '::1', port: 3 })
})

test('seconds may be numbers in the file', () => {
  const upstreamConnectSeconds = load({ file: file({ upstream_connect_seconds: 2.5 }) }).upstreamConnectSeconds
  expect(upstreamConnectSeconds).toBe(2.5)
  expect(load({ flags: { upstreamIdleSeconds: '90' } }).upstreamIdleSeconds).toBe(90)
})

test('lists come by commas, or as lists in the file', () => {
  const env = {
    HOME: '/h',
    BERTH_ALLOWED_HOSTS: 'a.example, b.example:8080,',
    BERTH_ALLOWED_ORIGINS: 'https://c.example',
  }
  expect(load({ env })).toMatchObject({
    allowedHosts: ['a.example', 'b.example:8080'],
    allowedOrigins: ['https://c.example'],
  })
  expect(load({ file: file({ allowed_hosts: ['a.example'] }) }).allowedHosts).toEqual(['a.example'])
})

test.each([
  [{ flags: { listen: '7071' } }, /^--listen \(command line\): must be an address and a port/],
  [{ flags: { listen: '127.0.0.1:70000' } }, /^--listen \(command line\): must be an address and a port/],
  [{ flags: { listen: '::1:7071' } }, /^--listen \(command line\): must be an address and a port/],
  [{ flags: { listen: '[a.example]:1' } }, /^--listen \(command line\): must be an address and a port/],
  [{ env: { BERTH_LISTEN: 'http://x:1' } }, /^BERTH_LISTEN \(environment\): must be an address and a port/],
  [{ env: { HOME: '/h', BERTH_EGRESS_DNS: 'dns.example' } }, /^BERTH_EGRESS_DNS \(environment\): must be addresses/],
  [{ env: { HOME: '/h', BERTH_EGRESS_NETWORKS: '10.0.0.0/33' } }, /^BERTH_EGRESS_NETWORKS \(environment\): must be/],
  [{ env: { HOME: '/h', BERTH_UPSTREAM_IDLE_SECONDS: '0' } }, /^BERTH_UPSTREAM_IDLE_SECONDS \(environment\): must be/],
  [{ env: { BERTH_MODEL: 'gpt' } }, /^BERTH_MODEL \(environment\): .*anthropic/],
  [{ env: { BERTH_MODEL: 'anthropic' } }, /^ANTHROPIC_API_KEY: is needed/],
  [{ env: { BERTH_MODEL: 'anthropic', ANTHROPIC_BASE_URL: 'http://a.example' } }, /^ANTHROPIC_API_KEY: is needed/],
  [
    { env: { HOME: '/h', BERTH_ALLOWED_ORIGINS: 'https://a.example/path' } },
    /^BERTH_ALLOWED_ORIGINS \(environment\): must be origins/,
  ],
  [
    { env: { HOME: '/h', BERTH_ALLOWED_HOSTS: 'http://a.example' } },
    /^BERTH_ALLOWED_HOSTS \(environment\): must be names/,
  ],
  [{ env: { ANTHROPIC_BASE_URL: 'ftp://a.example' } }, /^ANTHROPIC_BASE_URL \(environment\)/],
  [{ env: {} }, /^BERTH_DATA_DIR: is needed/],
  [{ file: file({ log_level: 7 }) }, /^log_level \(\/etc\/berth\.json\): /],
  [{ file: file({ logLevel: 'info' }) }, /^logLevel \(\/etc\/berth\.json\): is not a setting/],
  [{ file: file({ api_key: 'x' }) }, /^api_key .*is not a setting/],
  [{ file: file([]) }, /^\/etc\/berth\.json: must be a JSON object/],
  [{ file: { path: '/etc/berth.json', text: '{' } }, /^\/etc\/berth\.json: is not JSON/],
] satisfies [Partial<ConfigSources>, RegExp][])('%o names the setting and its source', (sources, message) => {
  expect(() => load(sources)).toThrow(message)
})

test('a secret is not in the message about it', () => {
  const load_ = () => load({ env: { HOME: '/h', BERTH_API_KEY: 'se cret' } })
  expect(load_).toThrow(/^BERTH_API_KEY \(environment\): /)
  expect(load_).not.toThrow(/se cret/)
})

test('what was loaded cannot be changed', () => {
  const config = load()
  expect([config, config.allowedHosts, config.allowedOrigins].every(Object.isFrozen)).toBe(true)
})

test('secrets have no flag and no place in the file; flags, variables and keys are named alike', () => {
  const all: Setting[] = Object.values(settings)
  for (const { secret, flag, key, env } of all) {
    if (secret) expect([flag, key]).toEqual([null, null])
    if (flag !== null && env.startsWith('BERTH_'))
      expect(flag).toBe(`--${env.slice(6).toLowerCase().replaceAll('_', '-')}`)
    if (flag !== null && key !== null) expect(key).toBe(flag.slice(2).replaceAll('-', '_'))
  }
  expect(new Set(all.map(({ env }) => env)).size).toBe(all.length)
})

test('the file is named by flag or variable', () => {
  expect(configFile({ flags: {}, env: {} })).toBeUndefined()
  expect(configFile({ flags: {}, env: { BERTH_CONFIG: '/a' } })).toBe('/a')
  expect(configFile({ flags: { config: '/b' }, env: { BERTH_CONFIG: '/a' } })).toBe('/b')
})

test('what a session may send is a size, or none', () => {
  const load = (value: string | number) =>
    loadConfig({
      flags: {},
      env: {},
      file: { path: 'f', text: JSON.stringify({ egress_upload_limit: value }) },
      isRoot: true,
    }).egressUploadLimit
  expect(['500MB', 1000, '0', 'none'].map(load)).toEqual([500_000_000, 1000, 0, 'none'])
  for (const wrong of ['-1', '1.5GB', 'all', '4gib', 1.5]) {
    expect(() => load(wrong)).toThrow('egress_upload_limit (f): must be a size such as 500MB or 4GiB, or none')
  }
})

test('a session keeps a whole number of checkpoints, at least one', () => {
  const load = (value: string) =>
    loadConfig({ flags: { checkpointsPerSession: value }, env: {}, isRoot: true }).checkpointsPerSession
  expect(load('1')).toBe(1)
  for (const wrong of ['0', '-1', '1.5', 'all', '10001']) {
    expect(() => load(wrong)).toThrow('--checkpoints-per-session (command line): must be')
  }
})

test('the key for vaults is in one place', () => {
  const env = { HOME: '/home/me', BERTH_VAULT_KEY_FILE: '/k', BERTH_VAULT_KEY_COMMAND: 'print-key' }
  expect(() => load({ env })).toThrow('BERTH_VAULT_KEY_FILE and BERTH_VAULT_KEY_COMMAND: only one of them')
  expect(load({ env: { ...env, BERTH_VAULT_KEY_FILE: '' } }).vaultKey.command).toBe('print-key')
})
