import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { orAborted } from './or-aborted.ts'

test('what is waited for counts until the signal does, and its failure afterwards is nobody’s', async () => {
  const none = new AbortController().signal
  expect(await orAborted(Promise.resolve(1), none)).toBe(1)
  await expect(orAborted(Promise.reject(new Error('failed')), none)).rejects.toThrow('failed')
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  const late = Promise.withResolvers<never>()
  const cut = new AbortController()
  const waiting = orAborted(late.promise, cut.signal)
  cut.abort(new Error('cut'))
  await expect(waiting).rejects.toThrow('cut')
  await expect(orAborted(Promise.reject(new Error('failed')), cut.signal)).rejects.toThrow('cut')
  late.reject(new Error('too late'))
  await turn()
  await turn()
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})
