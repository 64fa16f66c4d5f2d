/** No credential can take the place of a variable by which the platform runs the agent: not its programs, its way out, nor whom it trusts. */
import { proxyEnvironment } from '../../packages/runner/src/egress-forwarder.ts'
import { cliEnvironment } from '../../packages/runner/src/cli-environment.ts'
import { isReservedName } from '../../packages/server/src/domain/secret-name.ts'
import { expect, test } from 'vitest'

const config = {
  uid: 1000,
  cwd: '/workspace',
  home: '/home/agent',
  own_dirs: [],
  sdk_session_id: '8d0c0e0e-0000-4000-8000-000000000000',
  resume: false,
  model: 'm',
  effort: null,
  system: null,
  tools: [],
  custom_tools: [],
  mcp_servers: [],
  model_socket: '/run/model.sock',
  max_turns: null,
  max_retries: 1,
  env: { BERTH_OUTPUTS: '/mnt/session/outputs' },
}

test('names that the platform uses are reserved, in either case', () => {
  const names = [...Object.keys(cliEnvironment(config)), ...Object.keys(proxyEnvironment(1, 'password'))]
  expect(names.length).toBeGreaterThan(20)
  const free = names.flatMap((name) => [name, name.toLowerCase()]).filter((name) => !isReservedName(name))
  expect(free).toEqual([])
})

test.each([
  'GITHUB_TOKEN',
  'GIT_TOKEN',
  'OPENAI_API_KEY',
  'AWS_SECRET_ACCESS_KEY',
  'NPM_TOKEN',
  'DATABASE_URL',
  'token',
])('%s is free', (name) => {
  expect(isReservedName(name)).toBe(false)
})
