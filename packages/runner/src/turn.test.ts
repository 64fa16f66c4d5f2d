import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildRunner } from './build.ts'
import { TestSandbox } from './testing/sandbox.ts'

const built = mkdtempSync(join(tmpdir(), 'br-'))
const bundle = join(built, 'runner.mjs')
beforeAll(() => buildRunner(bundle))
afterAll(() => rmSync(built, { recursive: true }))

test('a turn of text', async () => {
  await using sandbox = await TestSandbox.start(bundle)
  const session = sandbox.session()
  session.open()
  const started = await session.report('started')
  expect(started.cli_version).toMatch(/^\d+\.\d+\.\d+$/)
  const uuid = session.say('::thinking hm', '::text hello there')
  await session.idle()
  expect(session.messages('assistant')).toHaveLength(2)
  expect(session.messages('result')[0]).toMatchObject({
    subtype: 'success',
    result: 'hello there',
    user_message_uuid: uuid,
  })
})
