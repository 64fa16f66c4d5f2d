import { expect, test } from 'vitest'
import { locate } from './prompt.ts'
import type { ContentBlock, MessagesRequest } from './request.ts'

const REMINDER = '<system-reminder>\nAttribution for commits.\n::text not me\n</system-reminder>\n'

const text = (words: string): ContentBlock => ({ type: 'text', text: words })
const result = (words: string): ContentBlock => ({ type: 'tool_result', tool_use_id: 'toolu_1', content: words })
const call: ContentBlock = { type: 'tool_use', id: 'toolu_1', name: 'Bash', input: {} }
const user = (...content: ContentBlock[]) => ({ role: 'user' as const, content })
const assistant = (...content: ContentBlock[]) => ({ role: 'assistant' as const, content })
const conversation = (...messages: MessagesRequest['messages']): MessagesRequest => ({ model: 'm', messages })

test('the first call answers the words after the reminders', () => {
  const first = conversation(user(text(REMINDER), text('hi\n::text a')), { role: 'system', content: '# Environment' })
  expect(locate(first)).toEqual({ prompts: ['hi\n::text a'], prompt: 'hi\n::text a', step: 0 })
})

test('a reminder around or inside a plain string is no prompt', () => {
  const request = conversation({ role: 'user', content: `${REMINDER}hello` }, { role: 'user', content: REMINDER })
  expect(locate(request)).toEqual({ prompts: ['hello'], prompt: 'hello', step: 0 })
})

test('tool results go on with the prompt before them, one step for each assistant message', () => {
  const turn = [user(text('p')), assistant(text('x'), call), user(result('one'))]
  expect(locate(conversation(...turn)).step).toBe(1)
  expect(locate(conversation(...turn, assistant(call), user(result('two'), text(REMINDER)))).step).toBe(2)
})

test('a later prompt begins at step 0', () => {
  const request = conversation(user(text('p1')), assistant(text('a')), { role: 'user', content: 'p2' })
  expect(locate(request)).toEqual({ prompts: ['p1', 'p2'], prompt: 'p2', step: 0 })
})

test('a prompt of several blocks is one prompt', () => {
  expect(locate(conversation(user(text('one'), text('two')))).prompts).toEqual(['one\ntwo'])
})

test('prompts that the CLI put into one message stay apart', () => {
  const request = conversation(user(text('failed\n::error 403 permission_error\n'), text('second\n'), text('third')))
  expect(locate(request)).toMatchObject({ prompts: ['failed\n::error 403 permission_error', 'second', 'third'] })
})

test('an interruption is no prompt, and what follows it is a new one', () => {
  const request = conversation(
    user(text('run\n::tool Bash {}')),
    assistant(call),
    user(result('rejected'), text('[Request interrupted by user for tool use]\n'), text('after')),
  )
  expect(locate(request)).toEqual({ prompts: ['run\n::tool Bash {}', 'after'], prompt: 'after', step: 0 })
  const unanswered = conversation(user(text('::hang\n'), text('[Request interrupted by user]\n'), text('after')))
  expect(locate(unanswered)).toEqual({ prompts: ['::hang', 'after'], prompt: 'after', step: 0 })
})

test.each([
  'Continue from where you left off.',
  'Output token limit hit. Resume directly.',
  'Your response above was cut off mid-stream. Resume directly from where it stops — no apology, no recap.',
  'Stop hook feedback:\ndo more',
  '[structured-output-enforce] You MUST call the StructuredOutput tool to complete this request.',
  'Your response above was stopped by a safety classifier — this is not a tool or API error.',
  '<system-reminder>\n[SYSTEM NOTIFICATION - NOT USER INPUT]\n</system-reminder>',
])('the CLI goes on with the same script: %s', (words) => {
  const request = conversation(user(text('p')), assistant(text('part')), user(text(words)))
  expect(locate(request)).toEqual({ prompts: ['p'], prompt: 'p', step: 1 })
  expect(locate(conversation(user(text('p\n'), text(words))))).toEqual({ prompts: ['p'], prompt: 'p', step: 0 })
})

test('the filler after a cut turn is no step', () => {
  const cut = [
    user(text('p')),
    assistant(call),
    user(result('outcome unknown')),
    assistant(text('No response requested.')),
  ]
  expect(locate(conversation(...cut, user(text('Continue from where you left off.'))))).toMatchObject({ step: 1 })
})

test('what a local command said is no prompt', () => {
  const request = conversation(
    user(
      text('<local-command-caveat>The command below was run directly.</local-command-caveat>\n'),
      text(
        '<command-name>/model</command-name>\n   <command-message>model</command-message>\n   <command-args></command-args>\n',
      ),
      text('<local-command-stdout>Set model</local-command-stdout>\n'),
      text('b'),
    ),
  )
  expect(locate(request).prompts).toEqual(['b'])
})

test('a conversation without words has no prompt', () => {
  expect(locate(conversation(user(text(REMINDER))))).toEqual({ prompts: [], prompt: '', step: 0 })
})
