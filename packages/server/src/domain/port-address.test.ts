import { describe, expect, it, test } from 'vitest'
import { createIds } from './ids.ts'
import { systemClock } from './clock.ts'
import { PortAddresses } from './port-address.ts'

const local = new PortAddresses('localhost', 7072)
const sessionId = createIds(systemClock).next('sesn')
const label = `8000--${sessionId.toLowerCase().replace('_', '-')}`

test('an origin leads back to its session and port', () => {
  const origin = local.originOf({ sessionId, port: 8000 })
  expect(origin).toBe(`http://${label}.localhost:7072`)
  expect(new URL(origin).origin).toBe(origin)
  expect(label.length).toBeLessThanOrEqual(63)
  expect(local.parse(new URL(origin).host)).toEqual({ sessionId, port: 8000 })
  expect(local.parse(`${label.toUpperCase()}.LocalHost`)).toEqual({ sessionId, port: 8000 })
})

test('a domain of its own is served by TLS, on the port it names', () => {
  const own = new PortAddresses('ports.example', 7072)
  expect(own.originOf({ sessionId, port: 1 })).toBe(`https://${label.replace('8000', '1')}.ports.example`)
  expect(new PortAddresses('ports.example:8443', 7072).originOf({ sessionId, port: 8000 })).toBe(
    `https://${label}.ports.example:8443`,
  )
  expect(new PortAddresses('notlocalhost', 7072).isSecure).toBe(true)
  expect(new PortAddresses('berth.localhost', 7072).isSecure).toBe(false)
})

describe('no port of a session is', () => {
  it.each([
    '',
    'localhost',
    'localhost:7072',
    '127.0.0.1:7072',
    label,
    `${label}.localhost.`,
    `${label}.localhost:`,
    `${label}.localhost:7072:1`,
    `${label}.localhost.evil.example`,
    `${label}.notlocalhost`,
    `x.${label}.localhost`,
    `${label}..localhost`,
    `${label}.localhost@evil.example`,
    `${label}.localhost/x`,
    `${label}.localhost\t`,
    ` ${label}.localhost`,
    label.replace('8000', '0') + '.localhost',
    label.replace('8000', '08000') + '.localhost',
    label.replace('8000', '65536') + '.localhost',
    label.replace('8000', '8000.0') + '.localhost',
    label.replace('8000', '') + '.localhost',
    label.replace('8000', '80-00') + '.localhost',
    label.replace('sesn', 'agent') + '.localhost',
    label.replace('sesn-', 'sesn_') + '.localhost',
    `${label.slice(0, -1)}u.localhost`,
    `${label}0.localhost`,
    `${label.slice(0, -1)}.localhost`,
  ])('%j', (host) => {
    expect(local.parse(host)).toBeUndefined()
  })
})
