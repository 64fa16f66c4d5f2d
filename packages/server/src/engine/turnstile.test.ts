import { expect, test } from 'vitest'
import { Turnstile } from './turnstile.ts'

test('as many as fit run at once, the others in order, also when one fails', async () => {
  const turnstile = new Turnstile(2)
  const begun: number[] = []
  const gates = [0, 1, 2, 3].map(() => Promise.withResolvers<number>())
  const passing = gates.map((gate, n) =>
    turnstile.pass(() => {
      begun.push(n)
      return gate.promise
    }),
  )
  const results = Promise.allSettled(passing)
  expect(begun).toEqual([0, 1])
  gates[1]?.reject(new Error('no'))
  await expect(passing[1]).rejects.toThrow('no')
  expect(begun).toEqual([0, 1, 2])
  gates[0]?.resolve(0)
  await passing[0]
  expect(begun).toEqual([0, 1, 2, 3])
  gates[2]?.resolve(2)
  gates[3]?.resolve(3)
  expect((await results).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
  expect(await turnstile.pass(() => Promise.resolve('free again'))).toBe('free again')
})
