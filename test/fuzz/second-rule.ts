/**
 * The rule about hosts and addresses once more, written from its description and not from the code that it is compared with: no pattern, no
 * table of the platform, characters and numbers alone.
 */

/** The canonical form; undefined: no host. */
export function hostOf(text: string): string | undefined {
  if (text.length < 1 || text.length > 253) return undefined
  let host = ''
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0
    const isLower = code >= 97 && code <= 122
    const isUpper = code >= 65 && code <= 90
    const isDigit = code >= 48 && code <= 57
    if (!isLower && !isUpper && !isDigit && character !== '-' && character !== '.') return undefined
    host += isUpper ? String.fromCodePoint(code + 32) : character
  }
  const labels = host.split('.')
  if (labels.length < 2) return undefined
  for (const label of labels) {
    if (label.length < 1 || label.length > 63 || label.startsWith('-') || label.endsWith('-')) return undefined
  }
  return isNumber(labels[labels.length - 1] ?? '') ? undefined : host
}

function isNumber(label: string): boolean {
  const isHex = label.startsWith('0x')
  const digits = isHex ? label.slice(2) : label
  return Array.from(digits).every((digit) => (isHex ? '0123456789abcdef' : '0123456789').includes(digit))
}

/** Does a list of names and `*.` suffixes allow it? */
export function isAllowed(patterns: readonly string[], host: string, port: number): boolean {
  if (port !== 80 && port !== 443) return false
  return patterns.some((pattern) => {
    if (!pattern.startsWith('*')) return pattern === host
    const behind = pattern.slice(1)
    return host.length > behind.length && host.endsWith(behind)
  })
}

type Range = readonly [first: string, last: string]
const closed4: readonly Range[] = [
  ['0.0.0.0', '0.255.255.255'],
  ['10.0.0.0', '10.255.255.255'],
  ['100.64.0.0', '100.127.255.255'],
  ['127.0.0.0', '127.255.255.255'],
  ['168.63.129.16', '168.63.129.16'],
  ['169.254.0.0', '169.254.255.255'],
  ['172.16.0.0', '172.31.255.255'],
  ['192.0.0.0', '192.0.0.255'],
  ['192.0.2.0', '192.0.2.255'],
  ['192.88.99.0', '192.88.99.255'],
  ['192.168.0.0', '192.168.255.255'],
  ['198.18.0.0', '198.19.255.255'],
  ['198.51.100.0', '198.51.100.255'],
  ['203.0.113.0', '203.0.113.255'],
  ['224.0.0.0', '255.255.255.255'],
]

function number4(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

/** Four numbers. */
export function isPublic4(address: string): boolean {
  const at = number4(address)
  return !closed4.some(([first, last]) => at >= number4(first) && at <= number4(last))
}

/** Eight words. */
export function isPublic6(words: readonly number[]): boolean {
  const [first = 0, second = 0] = words
  if (first < 0x2000 || first > 0x3fff) return false
  if (first === 0x2001 && (second < 0x200 || second === 0xdb8)) return false
  return first !== 0x2002 && !(first === 0x3fff && second < 0x1000)
}
