import { afterAll, beforeAll, expect, test } from 'vitest'
import { BerthProcess } from '../../packages/cli/test/berth-process.ts'
import { tool } from '../harness/message.ts'
import { startTestBerth, type TestBerth } from '../harness/test-berth.ts'

let berth: TestBerth
beforeAll(async () => {
  berth = await startTestBerth()
})
afterAll(() => berth[Symbol.asyncDispose]())

const ESC = '\u001B'
/** What an agent might say to a terminal: each with a word that shows that it was said. */
const attacks: Readonly<Record<string, string>> = {
  clipboard: `${ESC}]52;c;ZXZpbA==\u0007clipboard`,
  title: `${ESC}]0;evil\u0007title`,
  link: `${ESC}]8;;https://evil.example\u001B\\link${ESC}]8;;\u001B\\`,
  clear: `${ESC}[2J${ESC}[H${ESC}[31mclear`,
  report: `${ESC}[6n${ESC}[creport`,
  string: `${ESC}P+q544e${ESC}\\string`,
  eightBit: '\u009B31m\u009D52;c;ZXZpbA==\u009CeightBit',
  bell: '\u0007\u0008\u007Fbell',
  carriage: 'harmless\rcarriage',
  bidirectional: '\u202Etxt.exe\u202Cbidirectional',
}

/** Colours, the erasing of the waiting line and cursor moves within it are the CLI's own. */
// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const own = /\u001B\[(?:\d{0,2}(?:;\d{1,2})?m|[0-2]?K|\?25[lh]|\d*[AG])/g
// oxlint-disable-next-line no-control-regex -- the same
const forbidden = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/

async function runOnTerminal(prompt: readonly string[]): Promise<string> {
  const args = ['--url', berth.server.url, '--api-key', berth.server.apiKey, 'run', prompt.join('\n')]
  using berthRun = new BerthProcess(args, {}, true)
  const { code, out, err } = await berthRun.ended
  expect(code, err + out).toBe(0)
  return out
}

function expectHarmless(out: string): void {
  expect(out.replaceAll(own, '')).not.toMatch(forbidden)
  // A carriage return alone would let later text overwrite earlier.
  expect(out.replaceAll(own, '').replaceAll('\r\n', '\n')).not.toMatch(/harmless\r/)
  for (const word of Object.keys(attacks)) expect(out).toContain(word)
}

test('what an agent says does nothing to the terminal', async () => {
  expectHarmless(await runOnTerminal(['Say', ...Object.values(attacks).map((attack) => `::text ${attack}`)]))
})

test('what a tool prints does nothing to the terminal', async () => {
  const text = Object.values(attacks).join(' ')
  const encoded = Buffer.from(text).toString('base64')
  expectHarmless(
    await runOnTerminal([
      'Print',
      tool('Bash', { command: `echo ${encoded} | base64 -d` }),
      '::next',
      '::text {{result}}',
    ]),
  )
})
