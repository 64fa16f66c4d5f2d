import { BlockList, isIP } from 'node:net'

type Subnet = readonly [address: string, prefix: number]

/** Whatever an operator says: where machines keep the keys of their cloud, and what is no one machine. */
const never4: readonly Subnet[] = [
  ['0.0.0.0', 8],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['192.0.0.192', 32],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]
/** Networks that are not the public one: private, shared, loopback, documentation, measurement, relays to IPv6. */
const special4: readonly Subnet[] = [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
]
const never6: readonly Subnet[] = [
  ['::', 128],
  ['fd00:ec2::', 32],
  ['fe80::', 10],
  ['ff00::', 8],
]
/** All public addresses of IPv6 are in it; those that carry an address of IPv4, or say nothing of a place, are outside or below. */
const global6: readonly Subnet[] = [['2000::', 3]]
const special6: readonly Subnet[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
]

function tableOf(subnets: readonly Subnet[], family: 'ipv4' | 'ipv6'): BlockList {
  const table = new BlockList()
  for (const [address, prefix] of subnets) table.addSubnet(address, prefix, family)
  return table
}

const tables = {
  never4: tableOf(never4, 'ipv4'),
  special4: tableOf(special4, 'ipv4'),
  never6: tableOf(never6, 'ipv6'),
  global6: tableOf(global6, 'ipv6'),
  special6: tableOf(special6, 'ipv6'),
}

/** May a connection be made to this address? Anything that is no plain address is refused. */
export type AddressRule = (address: string) => boolean

export interface AddressRuleParts {
  /** Private networks that the operator opens to sandboxes: addresses, or networks as `10.1.0.0/16`. Well-formed. */
  readonly opened: readonly string[]
  /** Addresses of this machine, as they are now. */
  readonly own: () => readonly string[]
}

/**
 * Public addresses alone, and none of this machine's own, but for networks that the operator has opened. Link-local addresses, those
 * of metadata services, and addresses of IPv6 that stand for one of IPv4 are refused whatever is opened.
 */
export function addressRule({ opened, own }: AddressRuleParts): AddressRule {
  const open = openedNetworks(opened)
  return (address) => {
    switch (isIP(address)) {
      case 4:
        if (tables.never4.check(address, 'ipv4')) return false
        if (open.check(address, 'ipv4')) return true
        return !tables.special4.check(address, 'ipv4') && !own().includes(address)
      case 6: {
        if (address.includes('%') || address.includes('.') || tables.never6.check(address, 'ipv6')) return false
        // A table of IPv6 takes ::ffff:10.0.0.1 for the 10.0.0.1 of a table of IPv4; it is outside of everything that is public.
        const isPublic = tables.global6.check(address, 'ipv6') && !tables.special6.check(address, 'ipv6')
        if (!isPublic && !isUniqueLocalOrLoopback(address)) return false
        return open.check(address, 'ipv6') || (isPublic && !own().some((mine) => isSame(mine, address)))
      }
      default:
        return false
    }
  }
}

/** The networks of IPv6 that an operator can open. */
const openable6 = tableOf(
  [
    ['::1', 128],
    ['fc00::', 7],
  ],
  'ipv6',
)

function isUniqueLocalOrLoopback(address: string): boolean {
  return openable6.check(address, 'ipv6')
}

function isSame(one: string, other: string): boolean {
  if (isIP(one) !== 6) return false
  const table = new BlockList()
  table.addAddress(one.split('%')[0] ?? one, 'ipv6')
  return table.check(other, 'ipv6')
}

/** Throws when an entry is no address and no network. */
export function openedNetworks(entries: readonly string[]): BlockList {
  const table = new BlockList()
  for (const entry of entries) {
    const [address = '', prefix] = entry.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (isIP(address) === 0 || (prefix !== undefined && !/^\d{1,3}$/.test(prefix)))
      throw new RangeError(`${entry}: is no network`)
    table.addSubnet(address, prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix), family)
  }
  return table
}
