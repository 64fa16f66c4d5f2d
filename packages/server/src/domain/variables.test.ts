import { randomBytes } from 'node:crypto'
import { Sealing } from '@berth/protocol/sealing'
import { expect, test } from 'vitest'
import { placeholderOf, unreachableHosts } from './variables.ts'

const variable = (...hosts: string[]) => ({ name: 'TOKEN', vaultId: 'vlt_1', credentialId: 'vcrd_1', hosts })

test('a placeholder is one session’s and one name’s, and needs the key', () => {
  const sealing = new Sealing(randomBytes(32))
  const one = placeholderOf(sealing, 's1', 'TOKEN')
  expect(one).toMatch(/^berth-placeholder-[\w-]{32}$/)
  expect(placeholderOf(sealing, 's1', 'TOKEN')).toBe(one)
  const others = [
    placeholderOf(sealing, 's2', 'TOKEN'),
    placeholderOf(sealing, 's1', 'OTHER'),
    placeholderOf(new Sealing(randomBytes(32)), 's1', 'TOKEN'),
  ]
  expect(new Set([one, ...others]).size).toBe(4)
})

test.each([
  [['api.a.example'], ['api.a.example'], ''],
  [['*.a.example'], ['api.a.example'], ''],
  [['x.a.example'], ['*.a.example'], ''],
  [['*.a.example'], ['*.b.a.example'], ''],
  [['*.b.a.example'], ['*.a.example'], ''],
  [['*.a.example'], ['a.example'], 'a.example'],
  [['a.example'], ['*.a.example'], '*.a.example'],
  [['*.a.example'], ['nota.example'], 'nota.example'],
  [[], ['a.example', 'b.example'], 'a.example, b.example'],
  [['a.example'], ['a.example', 'b.example'], 'b.example'],
])('where %j is allowed, of a credential for %j cannot be reached: %s', (allowed, hosts, closed) => {
  const [error, ...more] = unreachableHosts({ type: 'limited', hosts: allowed }, [variable(...hosts)])
  expect(more).toEqual([])
  if (closed === '') expect(error).toBeUndefined()
  else {
    expect(error).toMatchObject({
      type: 'credential_host_unreachable_error',
      vault_id: 'vlt_1',
      credential_id: 'vcrd_1',
    })
    expect(error?.message).toContain(`does not allow ${closed}, where`)
  }
})

test('where everything is allowed, all can be reached', () => {
  expect(unreachableHosts({ type: 'unrestricted' }, [variable('a.example')])).toEqual([])
})
