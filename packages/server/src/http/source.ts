/** Where a request comes from, as far as one party can be told from another by it. */
import { isIPv4 } from 'node:net'

const GROUPS = 8
/** Of these, whoever has the last has all of them. */
const NETWORK_GROUPS = 4

/** An address of IPv4, or the /64 of one of IPv6. What is none is one source with all that are none. */
export function sourceOf(address: string | undefined): string {
  const [bare = ''] = (address ?? '').split('%')
  const mapped = /^::ffff:(?<v4>[\d.]+)$/i.exec(bare)?.groups?.['v4']
  if (mapped !== undefined || isIPv4(bare)) return mapped ?? bare
  if (!bare.includes(':')) return 'nowhere'
  const [before = '', after] = bare.split('::')
  const head = groupsOf(before)
  const tail = groupsOf(after ?? '')
  const zeros = after === undefined ? 0 : Math.max(0, GROUPS - head.length - tail.length)
  const all = [...head, ...Array.from({ length: zeros }, () => '0'), ...tail]
  return `${all
    .slice(0, NETWORK_GROUPS)
    .map((group) => group.replace(/^0+(?=.)/, '').toLowerCase())
    .join(':')}::/64`
}

function groupsOf(text: string): string[] {
  return text.split(':').filter((group) => group !== '')
}
