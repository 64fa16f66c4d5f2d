import { expect, test } from 'vitest'
import { configFile, type ConfigSources, loadConfig, type Setting, settings } from './config.ts'

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
    allowedHosts: [],
    allowedOrigins: [],
    ociRuntime: undefined,
    logLevel: 'info',
  })
  expect(load({ isRoot: true }).dataDir).toBe('/var/lib/berth')
  expect(load({ env: { XDG_STATE_HOME: '/s' } }).dataDir).toBe('/s/berth')
  expect(load({ env: { HOME: '/h', ANTHROPIC_API_KEY: 'sk' } }).model).toBe('anthropic')
})

test('flag before variable before file; an empty variable is none', () => {
  const env = { HOME: '/h', BERTH_PORT: '2', BERTH_LOG_LEVEL: '' }
  const sources = { env, file: file({ host: '::1', port: 3, log_level: 'warn' }) }
  expect(load({ ...sources, flags: { port: '1' } })).toMatchObject({ host: '::1', port: 1 })
  expect(load(sources).port).toBe(2)
  expect(load({ ...sources, env: { HOME: '/h' } }).port).toBe(3)
  expect(load(sources).logLevel).toBe('warn')
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
  [{ flags: { port: 'http' } }, /^--port \(command line\): must be a port number/],
  [{ flags: { port: '70000' } }, /^--port \(command line\): must be a port number/],
  [{ env: { BERTH_HOST: 'http://x' } }, /^BERTH_HOST \(environment\): must be an address/],
  [{ env: { BERTH_MODEL: 'gpt' } }, /^BERTH_MODEL \(environment\): .*anthropic/],
  [{ env: { BERTH_MODEL: 'anthropic' } }, /^ANTHROPIC_API_KEY: is needed/],
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
