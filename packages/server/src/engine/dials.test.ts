import { expect, test } from 'vitest'
import { Dials } from './dials.ts'

const job = { type: 'count_processes' as const, session_id: 'sesn_1', uid: 1_000 }

test('a sandbox that was given up is asked for nothing any more, before and after', async () => {
  const dials = new Dials('nonce')
  const signal = AbortSignal.timeout(20_000)
  const before = dials.open(job, signal)
  dials[Symbol.dispose]()
  await expect(before).rejects.toMatchObject({ code: 'unavailable' })
  await expect(dials.open(job, signal)).rejects.toMatchObject({ code: 'unavailable' })
})
