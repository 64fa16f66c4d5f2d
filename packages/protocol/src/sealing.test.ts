import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { Sealing } from './sealing.ts'

const sealing = new Sealing(randomBytes(32))

describe('sealing', () => {
  test('what was sealed opens for its own context', () => {
    expect(sealing.open(sealing.seal('a secret, ünïcode', 'ws/vault/1'), 'ws/vault/1')).toBe('a secret, ünïcode')
    expect(sealing.open(sealing.seal('', 'c'), 'c')).toBe('')
  })

  test('the same secret is never sealed alike, and the sealed text does not tell it', () => {
    const [one, other] = [sealing.seal('canary-secret', 'c'), sealing.seal('canary-secret', 'c')]
    expect(one).not.toBe(other)
    expect(Buffer.from(one.slice(3), 'base64url').toString('latin1')).not.toContain('canary')
  })

  test('it opens for no other context, with no other key, and not when one bit has changed', () => {
    const sealed = sealing.seal('secret', 'ws/one')
    expect(() => sealing.open(sealed, 'ws/other')).toThrow()
    expect(() => new Sealing(randomBytes(32)).open(sealed, 'ws/one')).toThrow()
    const bytes = Buffer.from(sealed.slice(3), 'base64url')
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes)
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
      expect(() => sealing.open(`v1.${changed.toString('base64url')}`, 'ws/one')).toThrow()
    }
  })

  test('what is no sealed secret is refused, and so is a key of another length', () => {
    for (const text of ['', 'v1.', 'v2.AAAA', 'secret', 'v1.AAAA']) expect(() => sealing.open(text, 'c')).toThrow()
    expect(() => new Sealing(randomBytes(31))).toThrow(RangeError)
  })
})
