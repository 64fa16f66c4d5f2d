import { expect, test } from 'vitest'
import { continuationText, withLoss } from './recovery.ts'

const calls = [{ name: 'bash', input: { command: 'touch $& x' } }]

test('a continuation tells the worst that was lost before it is read, and its calls', () => {
  const process = continuationText(calls, 'process')
  expect(withLoss(process, 'sandbox_processes')).toBe(continuationText(calls, 'sandbox_processes'))
  expect(withLoss(process, 'sandbox')).toBe(continuationText(calls, 'sandbox'))
  expect(withLoss(continuationText(calls, 'sandbox'), 'process')).toBe(continuationText(calls, 'sandbox'))
})
