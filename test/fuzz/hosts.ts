/** Generated hosts, policies and addresses, each decided twice. */
import { isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { addressRule } from '@berth/gateway/egress/addresses'
import { compilePolicy } from '@berth/gateway/egress/policy'
import { readHost } from '@berth/protocol/host'
import type { Random } from '../chaos/random.ts'
import { hostOf, isAllowed, isPublic4, isPublic6 } from './second-rule.ts'

export const patterns = [
  'allowed.test',
  'api.example.com',
  '*.wild.test',
  '*.deep.er.test',
  'xn--bcher-kva.test',
  'a-b.test',
]
const rule = compilePolicy({ type: 'limited', hosts: patterns })
const mayDial = addressRule({ opened: [], own: () => [] })

export interface Tally {
  tried: number
  allowed: number
  readonly failures: string[]
}

const pieces = [
  'allowed',
  'test',
  'wild',
  'deep',
  'er',
  'api',
  'example',
  'com',
  'evil',
  'a-b',
  'a',
  'xn--bcher-kva',
  'localhost',
  '127',
  '0',
  '1',
  '0x7f',
  '0177',
  '2130706433',
  '169',
  '254',
  '256',
  '1e3',
  '0x',
  '10',
  '::1',
  'ffff',
  '[',
  ']',
  '%lo',
] as const
const odd = [
  '.',
  '.',
  '.',
  '-',
  '_',
  '*',
  '\0',
  '%00',
  '\r\n',
  '\t',
  ' ',
  '@',
  '/',
  '\\',
  ':',
  '?',
  '#',
  '。',
  '．',
  '①',
  'ａ',
  'ü',
  'K',
  'ß',
  '\u007f',
  '\u00ad',
  '\u200d',
  '\ud800',
] as const

export function makeHost(random: Random): string {
  const count = random.between(1, 6)
  let host = ''
  for (let n = 0; n < count; n++) {
    if (n > 0) host += random.chance(0.85) ? '.' : random.pick(odd)
    host += random.chance(0.9) ? random.pick(pieces) : random.pick(odd)
  }
  if (random.chance(0.4)) host = near(random)
  if (random.chance(0.1))
    host = Array.from(host)
      .map((each) => (random.chance(0.5) ? each.toUpperCase() : each))
      .join('')
  return random.chance(0.01) ? `${'a'.repeat(random.between(60, 66))}.${host}` : host
}

/** Something allowed, or that once was. */
function near(random: Random): string {
  const pattern = random.pick([
    'allowed.test',
    'api.example.com',
    'x.wild.test',
    'y.x.wild.test',
    'z.deep.er.test',
    'a-b.test',
  ])
  if (random.chance(0.4)) return pattern
  const at = random.between(0, pattern.length)
  const cut = random.chance(0.5) ? 1 : 0
  return pattern.slice(0, at) + (random.chance(0.7) ? random.pick(odd) : random.pick(pieces)) + pattern.slice(at + cut)
}

export function tryHost(random: Random, tally: Tally): void {
  const text = makeHost(random)
  const port = random.chance(0.8) ? random.pick([80, 443]) : random.between(1, 65_535)
  tally.tried++
  const reading = readHost(text)
  const ours = 'host' in reading && rule({ host: reading.host, port }).allowed ? reading.host : undefined
  const host = hostOf(text)
  const theirs = host !== undefined && isAllowed(patterns, host, port) ? host : undefined
  // That a label stands for letters is the platform's to say.
  const isDoubtful = host !== undefined && host.includes('xn--') && domainToASCII(host) !== host
  if (ours !== theirs && !isDoubtful) tally.failures.push(`host ${JSON.stringify(text)}:${port}: ${ours} and ${theirs}`)
  if (ours !== undefined) tally.allowed++
}

export function tryAddress(random: Random, tally: Tally): void {
  tally.tried++
  if (random.chance(0.5)) {
    const first = random.pick([0, 10, 100, 127, 168, 169, 172, 192, 198, 203, 224, 255, random.between(0, 255)])
    const second = random.pick([0, 16, 31, 32, 63, 64, 88, 127, 128, 168, 18, 19, 20, 51, 254, random.between(0, 255)])
    const third = random.pick([0, 2, 99, 100, 113, 129, random.between(0, 255)])
    const address = [first, second, third, random.pick([16, 192, random.between(0, 255)])].join('.')
    return compare(address, mayDial(address), isPublic4(address), tally)
  }
  const first = random.pick([
    0,
    0x64,
    0x2000,
    0x2001,
    0x2002,
    0x2606,
    0x3fff,
    0x4000,
    0xfc00,
    0xfd00,
    0xfe80,
    0xff02,
    random.between(0, 65_535),
  ])
  const rest = Array.from({ length: 7 }, () =>
    random.pick([0, 0, 0, 1, 0xdb8, 0xff9b, 0x1ff, 0x200, 0xffff, 0x7f00, random.between(0, 65_535)]),
  )
  const words = [first, ...rest]
  const address = words.map((word) => word.toString(16)).join(':')
  if (!isIPv6(address)) throw new Error(`${address} is none`)
  compare(address, mayDial(address), isPublic6(words), tally)
}

function compare(address: string, ours: boolean, theirs: boolean, tally: Tally): void {
  if (ours !== theirs) tally.failures.push(`address ${address}: ${ours} and ${theirs}`)
  if (ours) tally.allowed++
}
