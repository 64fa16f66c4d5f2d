import { expect, test } from 'vitest'
import { Answers } from './answers.ts'

const never = new AbortController().signal

test('an answer meets its question whichever comes first', async () => {
  const answers = new Answers<string>()
  answers.give('early', 'one')
  const late = answers.take('late', never)
  answers.give('late', 'two')
  expect(await late).toBe('two')
  expect(await answers.take('early', never)).toBe('one')
})

test('an answer is taken once, and the first counts', async () => {
  const answers = new Answers<string>()
  answers.give('a', 'one')
  answers.give('a', 'two')
  expect(await answers.take('a', never)).toBe('one')
  const controller = new AbortController()
  const again = answers.take('a', controller.signal)
  controller.abort(new Error('nobody answers'))
  await expect(again).rejects.toThrow('nobody answers')
})

test('the oldest of too many unasked answers is dropped', async () => {
  const answers = new Answers<number>()
  for (let n = 0; n <= 1_000; n++) answers.give(String(n), n)
  expect(await answers.take('1000', never)).toBe(1_000)
  expect(await answers.take('1', never)).toBe(1)
  const controller = new AbortController()
  const dropped = answers.take('0', controller.signal)
  controller.abort(new Error('dropped'))
  await expect(dropped).rejects.toThrow('dropped')
})
