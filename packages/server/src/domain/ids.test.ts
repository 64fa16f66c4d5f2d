import { expect, test } from 'vitest'
import { createIds } from './ids.ts'

function clockAt(times: number[]) {
  return { now: () => new Date(times.length > 1 ? (times.shift() ?? 0) : (times[0] ?? 0)) }
}

test('ids say what they name and sort in the order they were made', () => {
  const ids = createIds(clockAt([1_800_000_000_000]))
  const made = Array.from({ length: 1000 }, () => ids.next('agent'))
  expect(made.toSorted()).toEqual(made)
  expect(new Set(made).size).toBe(1000)
  for (const id of made) expect(id).toMatch(/^agent_[0-9A-HJKMNP-TV-Z]{26}$/)
})

test('a clock that is set back does not disturb the order', () => {
  const ids = createIds(clockAt([2_000, 1_000, 3_000]))
  const made = [ids.next('req'), ids.next('req'), ids.next('req')]
  expect(made.toSorted()).toEqual(made)
})

test('the time leads, the random part follows', () => {
  const zeros = createIds(clockAt([0]), (bytes) => new Uint8Array(bytes))
  expect(zeros.next('env')).toBe(`env_${'0'.repeat(25)}1`)
  const ones = createIds(clockAt([2 ** 48 - 1]), (bytes) => new Uint8Array(bytes).fill(255))
  expect(ones.next('env')).toBe(`env_7${'Z'.repeat(25)}`)
})

test('a sandbox id can name a directory and a cgroup', () => {
  expect(createIds(clockAt([Date.now()])).next('sbx')).toMatch(/^sbx_[0-9a-z]{26}$/)
})
