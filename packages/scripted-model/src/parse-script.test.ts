import { describe, expect, test } from 'vitest'
import { emptyStep, parseScript } from './parse-script.ts'

describe('steps', () => {
  test('a prompt without directives has none', () => {
    expect(parseScript('Hello.\n : :text no\n a ::text inside a line')).toEqual([])
  })

  test('blocks keep their order; ::next begins another step; other lines are prose', () => {
    const script = 'Do it\n::thinking hm\r\n::text a  b\n::tool Bash {"command":"ls -l"}\nprose\n::next\n::tool Read'
    expect(parseScript(script)).toEqual([
      {
        ...emptyStep(),
        blocks: [
          { type: 'thinking', thinking: 'hm' },
          { type: 'text', text: 'a  b' },
          { type: 'tool_use', name: 'Bash', input: { command: 'ls -l' } },
        ],
      },
      { ...emptyStep(), blocks: [{ type: 'tool_use', name: 'Read', input: {} }] },
    ])
  })

  test('pacing, usage and stop reason belong to their step', () => {
    const script = '::slow 5\n::delay 7\n::chunks 3\n::usage {"input_tokens":9}\n::stop max_tokens\n::repeat 3 la la'
    expect(parseScript(script)).toEqual([
      {
        blocks: [{ type: 'text', text: 'la la la la la la' }],
        faults: [],
        stopReason: 'max_tokens',
        usage: { input_tokens: 9 },
        delayMs: 7,
        slowMs: 5,
        stamp: false,
        chunks: 3,
      },
    ])
  })
})

describe('faults', () => {
  const faults = (line: string) => parseScript(line)[0]?.faults

  test('an error takes options anywhere among its words', () => {
    expect(faults('::error 529 overloaded_error times=2 Try retry-after=3 later should-retry=false')).toEqual([
      {
        kind: 'error',
        times: 2,
        status: 529,
        type: 'overloaded_error',
        message: 'Try later',
        headers: { 'retry-after': '3', 'x-should-retry': 'false' },
      },
    ])
  })

  test('without times a fault strikes always', () => {
    const always = Number.POSITIVE_INFINITY
    expect(faults('::error 500 api_error')).toEqual([
      { kind: 'error', times: always, status: 500, type: 'api_error', message: 'scripted error', headers: {} },
    ])
    expect(faults('::garbage\n::hang times=1\n::cut 4 times=2\n::stall\n::stall 0')).toEqual([
      { kind: 'garbage', times: always },
      { kind: 'hang', times: 1 },
      { kind: 'cut', afterEvents: 4, times: 2 },
      { kind: 'stall', afterEvents: 1, times: always },
      { kind: 'stall', afterEvents: 0, times: always },
    ])
  })
})

test.each([
  ['::frobnicate', 'unknown directive'],
  ['::', 'unknown directive'],
  ['::constructor x', 'unknown directive'],
  ['::text', 'needs words'],
  ['::thinking  ', 'needs words'],
  ['::next please', 'takes nothing'],
  ['::tool', 'needs a tool name'],
  ['::tool B@sh {}', 'needs a tool name'],
  ['::tool Bash {"command":', 'broken JSON'],
  ['::tool Bash [1]', 'wrong JSON'],
  ['::usage {"input_tokens":-1}', 'wrong JSON'],
  ['::stop Two Words', 'needs a name'],
  ['::slow fast', 'whole number'],
  ['::delay 1e9', 'whole number'],
  ['::chunks 0', 'whole number'],
  ['::repeat 9999999 many words', 'whole number'],
  ['::repeat 4000000 many words', 'longer than'],
  ['::error 200 ok', 'whole number'],
  ['::error 500', 'needs a name'],
  ['::error 500 api_error times=0', 'whole number'],
  ['::error 500 api_error should-retry=maybe', 'true or false'],
  ['::cut', 'whole number'],
  ['::hang forever', 'takes nothing'],
])('%s is refused with its line', (line, complaint) => {
  const name = line.slice(2).split(' ')[0]
  expect(() => parseScript(`prose\n::text fine\n${line}\n`)).toThrow(`script line 3: ::${name}: `)
  expect(() => parseScript(`prose\n::text fine\n${line}\n`)).toThrow(complaint)
})
