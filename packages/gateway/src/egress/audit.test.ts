import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporary } from '../fixture/running-gateway.ts'
import { Audit } from './audit.ts'
import type { AuditRow } from './audit-message.ts'

const row = (session_id: string, port: number, decision: 'allow' | 'deny' = 'deny'): AuditRow => ({
  session_id,
  at: '2026-01-01T00:00:00.000Z',
  protocol: 'connect',
  host: 'a.test',
  port,
  decision,
  reason: decision === 'allow' ? 'allowed' : 'host',
  credentials: decision === 'allow' ? ['TOKEN'] : [],
})

test('decisions are listed newest first, page by page, and outlive the process', async () => {
  await using dir = await temporary()
  const path = join(dir.path, 'egress.db')
  {
    await using audit = await Audit.open(path)
    await Promise.all([1, 2, 3, 4].map((port) => audit.write(row('a', port))))
    await audit.write(row('b', 9))
    // Not waited for: what is given is written before the end.
    void audit.write(row('a', 5)).catch(() => undefined)
  }
  await using audit = await Audit.open(path)
  const first = await audit.list({ session_id: 'a', limit: 2 })
  expect(first.map(({ port }) => port)).toEqual([5, 4])
  const before = first[1]?.id
  expect((await audit.list({ session_id: 'a', before, limit: 9 })).map(({ port }) => port)).toEqual([3, 2, 1])
})

test('what denies does not push out what allows, nor one session another', async () => {
  await using dir = await temporary()
  await using audit = await Audit.open(join(dir.path, 'egress.db'), { perSession: 50, overall: 10_000 })
  await audit.write(row('a', 1, 'allow'))
  await audit.write(row('b', 1))
  for (let n = 0; n < 20; n++) await Promise.all(Array.from({ length: 50 }, () => audit.write(row('a', 2))))
  const kept = await audit.list({ session_id: 'a', limit: 1_000 })
  expect(kept.filter(({ decision }) => decision === 'allow')).toHaveLength(1)
  expect(kept.length).toBeGreaterThanOrEqual(51)
  expect(kept.length).toBeLessThanOrEqual(56)
  expect(await audit.list({ session_id: 'b', limit: 10 })).toHaveLength(1)
})

test('all sessions together are bounded', async () => {
  await using dir = await temporary()
  await using audit = await Audit.open(join(dir.path, 'egress.db'), { perSession: 100, overall: 100 })
  for (let n = 0; n < 30; n++) await Promise.all(Array.from({ length: 10 }, (_, at) => audit.write(row(`s${at}`, n))))
  let kept = 0
  for (let at = 0; at < 10; at++) kept += (await audit.list({ session_id: `s${at}`, limit: 1_000 })).length
  expect(kept).toBeGreaterThanOrEqual(100)
  expect(kept).toBeLessThanOrEqual(110)
})

test('closed, it takes nothing', async () => {
  await using dir = await temporary()
  const audit = await Audit.open(join(dir.path, 'egress.db'))
  await audit[Symbol.asyncDispose]()
  await expect(audit.write(row('a', 1))).rejects.toThrow(/closed/)
})
