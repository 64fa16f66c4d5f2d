import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { eachPiece } from './each-piece.ts'

test('every piece, in order, and none before the one that had to wait', async () => {
  const gate = Promise.withResolvers<void>()
  const seen: string[] = []
  const body = new PassThrough()
  for (const piece of ['a', 'b', 'c']) body.write(piece)
  body.end()
  const done = eachPiece(body, (piece) => {
    seen.push(piece.toString())
    return seen.length === 2 ? gate.promise : undefined
  })
  await once(body, 'pause')
  expect(seen).toEqual(['a', 'b'])
  gate.resolve()
  await done
  expect(seen).toEqual(['a', 'b', 'c'])
})

test('the end waits for the last piece, even when it came with it', async () => {
  const gate = Promise.withResolvers<void>()
  const body = Readable.from([Buffer.from('a')])
  const order: string[] = []
  const done = eachPiece(body, () => gate.promise).then(() => order.push('done'))
  if (!body.closed) await once(body, 'close')
  order.push('closed')
  gate.resolve()
  await done
  expect(order).toEqual(['closed', 'done'])
})

test('a body that is empty ends, too', async () => {
  await eachPiece(Readable.from([]), () => undefined)
})

test.each([
  [
    'at once',
    () => {
      throw new Error('not this one')
    },
  ],
  ['later', () => Promise.reject(new Error('not this one'))],
])('one who fails %s takes no more, and the body is destroyed', async (_when, take) => {
  const body = new PassThrough()
  body.write('a')
  await expect(eachPiece(body, take)).rejects.toThrow('not this one')
  expect(body.destroyed).toBe(true)
})

test('a body that fails, or is left without an end', async () => {
  const failing = new PassThrough()
  const failed = eachPiece(failing, () => undefined)
  failing.destroy(new Error('reset'))
  await expect(failed).rejects.toThrow('reset')
  const left = new PassThrough()
  const told = eachPiece(left, () => undefined)
  left.destroy()
  await expect(told).rejects.toThrow('no end')
})
