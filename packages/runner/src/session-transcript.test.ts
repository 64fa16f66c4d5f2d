import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Report, SessionConfig } from '@berth/protocol/link'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PROJECT_DIR_NAME } from './cli-environment.ts'
import { restoreTranscript, SessionTranscript } from './session-transcript.ts'

let home: string
beforeEach(() => void (home = mkdtempSync(join(tmpdir(), 'tr-'))))
afterEach(() => rmSync(home, { recursive: true }))

const emptyConfig: Omit<SessionConfig, 'sdk_session_id' | 'home'> = {
  resume: false,
  uid: 1000,
  cwd: '/',
  own_dirs: [],
  model: 'm',
  effort: null,
  system: null,
  tools: [],
  custom_tools: [],
  mcp_servers: [],
  model_socket: '/s',
  max_turns: null,
  max_retries: 0,
  env: {},
}

const path = 'projects/p/a.jsonl'
const restore = (start: number, text: string, unless_bytes?: number): void =>
  restoreTranscript({ home, uid: 1000 }, { path, start, text, unless_bytes }, true)
const file = (): string => readFileSync(join(home, '.claude', path), 'utf8')

test('a transcript is put back part by part', () => {
  restore(0, 'one\n')
  restore(4, 'two\n')
  expect(file()).toBe('one\ntwo\n')
  restore(0, 'new\n')
  expect(file()).toBe('new\n')
})

test('calls and results that were not shipped stay, what was said behind them does not', () => {
  const done = '{"type":"tool_use"}\n{"type":"tool_result"}\n'
  restore(0, `one\ntwo\n${done}said\n`)
  restore(0, 'one\n', 8)
  restore(4, 'two\n', 8)
  expect(file()).toBe(`one\ntwo\n${done}`)
})

test('one that has what was shipped stays, one that has more is cut to it, one that is shorter, or missing, is put back', () => {
  const shipped = (): void => {
    restore(0, 'one\n', 8)
    restore(4, 'two\n', 8)
  }
  shipped()
  expect(file()).toBe('one\ntwo\n')
  restore(0, 'one\ntwo\nmore\n')
  shipped()
  expect(file()).toBe('one\ntwo\n')
  restore(0, 'o')
  shipped()
  expect(file()).toBe('one\ntwo\n')
})

const sdk_session_id = '6f1c8f0e-0000-4000-8000-000000000000'

function tailOf(): { transcript: SessionTranscript; write: (line: string) => void; said: string[] } {
  const config = { ...emptyConfig, sdk_session_id, home }
  const said: string[] = []
  const report = (body: Report): void => void (body.type === 'transcript' && said.push(body.text))
  const at = join(home, '.claude', 'projects', PROJECT_DIR_NAME, `${sdk_session_id}.jsonl`)
  mkdirSync(dirname(at), { recursive: true })
  const transcript = new SessionTranscript({ config, known: {}, sameUid: true, report })
  return { transcript, write: (line) => appendFileSync(at, `${line}\n`), said }
}

test('a result is held once its line is reported, also when the CLI ends right behind it', async () => {
  const { transcript, write, said } = tailOf()
  using _transcript = transcript
  const gone = new AbortController()
  const held = transcript.holds(['toolu_1'], gone.signal)
  write('{"type":"user","content":[{"tool_use_id":"toolu_1"}]}')
  gone.abort()
  expect(await held).toBe(true)
  expect(said.join('')).toContain('toolu_1')
})

test('a result that the CLI did not live to write is not held', async () => {
  const { transcript, write } = tailOf()
  using _transcript = transcript
  write('{"type":"user","content":[{"tool_use_id":"toolu_1"}]}')
  expect(await transcript.holds(['toolu_1', 'toolu_2'], AbortSignal.abort())).toBe(false)
  expect(await transcript.holds(['toolu_1'], AbortSignal.abort())).toBe(true)
})
