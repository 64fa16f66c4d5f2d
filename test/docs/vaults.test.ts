import { createCredentialBody } from '@berth/protocol/api/vault-credential'
import { expect, it } from 'vitest'
import { tool } from '../harness/message.ts'
import { startTestBerth } from '../harness/test-berth.ts'
import { blocksOf, readPage } from './page.ts'
import { runExample } from './run-example.ts'

const page = readPage('docs/guide/vaults.md')

it('the guide to vaults shows credentials that are accepted', () => {
  const types = blocksOf(page, 'json').map((text) => createCredentialBody.parse({ auth: JSON.parse(text) }).auth.type)
  expect(types).toEqual(['environment_variable', 'static_bearer', 'mcp_oauth'])
})

it('its example runs as it stands, and shows no secret', async () => {
  await using berth = await startTestBerth()
  const task = ['Look', tool('Bash', { command: 'echo $WEATHER_KEY' }), '::next', '::text It says {{result}}'].join(
    '\n',
  )
  const lines = await runExample(berth, blocksOf(page, 'ts')[0] ?? '', [task])
  expect(lines).toEqual([expect.stringMatching(/^It says berth-placeholder-[\w-]{32}$/), 'withdrawn'])
  await berth.assertClean()
}, 180_000)
