import { expect, test } from 'vitest'
import { continuationText, type Lost, withLoss } from './recovery.ts'

const calls = [{ name: 'bash', input: { command: 'touch $& x' } }]
const loss = (lost: Lost, filesAsOf: string | null = null) => ({ lost, filesAsOf })
const told = (...args: Parameters<typeof loss>) => continuationText(calls, loss(...args))

test('a continuation tells the worst that was lost before it is read, and its calls', () => {
  const process = told('process')
  expect(withLoss(process, loss('sandbox_processes'))).toBe(told('sandbox_processes'))
  expect(withLoss(process, loss('sandbox'))).toBe(told('sandbox'))
  expect(withLoss(told('sandbox'), loss('process'))).toBe(told('sandbox'))
})

test('of a sandbox that is lost it tells from when the files of the new one are', () => {
  const asOf = '2030-01-02T03:04:05.000Z'
  expect(told('sandbox')).toMatch(/files that were written in the old sandbox are gone/)
  expect(told('sandbox', asOf)).toContain(`as they were at ${asOf}`)
  expect(withLoss(told('process'), loss('sandbox', asOf))).toBe(told('sandbox', asOf))
})

test('what was lost is told in its place in a reminder, too', () => {
  const reminder = (...args: Parameters<typeof loss>) => `<system-reminder>${told(...args)}</system-reminder>`
  expect(withLoss(reminder('process'), loss('sandbox'))).toBe(reminder('sandbox'))
  const bare = (lost: Lost) => `<system-reminder>${continuationText([], loss(lost))}</system-reminder>`
  expect(withLoss(bare('process'), loss('sandbox'))).toBe(bare('sandbox'))
})
