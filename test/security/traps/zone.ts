/** What the DNS of the trap world says. */
import type { Answer } from '@berth/gateway/fixture/stub-dns'

export const good4 = '93.184.215.14'
export const good6 = '2606:2800:21f:cb07::1'
/** Of a host that answers as no server should. */
export const rogue4 = '93.184.215.20'
/** Of this machine itself. */
export const own4 = '93.184.215.99'

/** Where nobody may ever go, each under a name of its own: `f0.test`, `f1.test`, … */
export const forbidden = [
  '127.0.0.1',
  '127.1.2.3',
  '0.0.0.0',
  '10.0.0.1',
  '172.16.0.1',
  '172.31.255.254',
  '192.168.1.1',
  '100.64.0.1',
  '169.254.169.254',
  '169.254.170.2',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  '192.0.2.1',
  '198.18.0.1',
  '198.51.100.7',
  '203.0.113.9',
  '224.0.0.1',
  '239.1.1.1',
  '240.0.0.1',
  '255.255.255.255',
  '192.88.99.1',
  '::',
  '::1',
  '::ffff:7f00:1',
  '::ffff:a00:1',
  '::7f00:1',
  '64:ff9b::7f00:1',
  '64:ff9b:1::a00:1',
  '2002:7f00:1::',
  '2001::1',
  '2001:db8::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fec0::1',
  'ff02::1',
  '100::1',
  '3fff::1',
  '5f00::1',
]

let turn = 0

export function zone(name: string): Answer | undefined {
  const lower = name.toLowerCase()
  const number = /^f(\d+)\.test$/.exec(lower)?.[1]
  if (number !== undefined) return [forbidden[Number(number)] ?? '127.0.0.1']
  const mixed = /^m(\d+)\.test$/.exec(lower)?.[1]
  if (mixed !== undefined) return [good4, forbidden[Number(mixed)] ?? '127.0.0.1', good6]
  switch (lower) {
    case 'allowed.test':
    case 'other.test':
    case 'a.wild.test':
      return [good4, good6]
    case 'rogue.test':
      return [rogue4]
    case 'self.test':
      return [own4]
    case 'alias.test':
      return { alias: 'inside.corp.test', addresses: ['10.0.0.1'] }
    case 'four.test':
      return [good4, 'fd00::1']
    case 'six.test':
      return ['10.0.0.1', good6]
    case 'rebind.test':
      // Every second question has another answer.
      return turn++ % 4 < 2 ? [good4] : ['127.0.0.1']
    case 'metadata.google.internal':
      return ['169.254.169.254']
    case 'broken.test':
      return 'fail'
    default:
      return ['127.0.0.1']
  }
}
