import { expect, test } from 'vitest'
import { type PortGrant, PortTokens } from './port-token.ts'

const now = new Date('2030-01-01T00:00:00Z')
const grant: PortGrant = {
  workspaceId: 'wrkspc_1',
  keyId: 'apikey_1',
  sessionId: 'sesn_1',
  sandboxId: 'sbx_1',
  port: 8000,
  method: 'GET',
  expires: now.getTime() + 1000,
}
const tokens = new PortTokens('a secret')

test('a token says what it allows, until it expires', () => {
  const token = tokens.sign(grant)
  expect(token).toMatch(/^[\w-]+\.[\w-]+$/)
  expect(tokens.read(token, now)).toEqual(grant)
  expect(() => tokens.read(token, new Date(grant.expires - 1))).not.toThrow()
  expect(() => tokens.read(token, new Date(grant.expires))).toThrow('expired at 2030-01-01T00:00:01.000Z')
})

test('any character that is changed, added or taken away is noticed', () => {
  const token = tokens.sign(grant)
  const altered = token.split('').flatMap((letter, at) => {
    const [before, after] = [token.slice(0, at), token.slice(at + 1)]
    return [before + after, `${before}${letter === 'A' ? 'B' : 'A'}${after}`, `${before}A${letter}${after}`]
  })
  for (const one of altered.filter((one) => one !== token)) {
    expect(() => tokens.read(one, now)).toThrow('altered')
  }
})

test('another grant does not go with a signature, nor another secret', () => {
  const [, mac] = tokens.sign(grant).split('.')
  const text = Buffer.from(JSON.stringify({ ...grant, port: 22 })).toString('base64url')
  const others = [`${text}.${mac}`, `${text}.`, `.${mac}`, '', '.', '..', 'x', 'é.é', 'x'.repeat(1_000_000)]
  for (const one of [...others, new PortTokens('another').sign(grant)]) {
    expect(() => tokens.read(one, now)).toThrow('altered')
  }
})
