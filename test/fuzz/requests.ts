/** Generated requests to a real proxy, with what a second reader would make of each. */
import { connect } from 'node:net'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { addressRule } from '@berth/gateway/egress/addresses'
import { Audit } from '@berth/gateway/egress/audit'
import { Traffic } from '@berth/gateway/egress/traffic'
import { openTrust, type Trust } from '@berth/gateway/egress/dial-tls'
import { EgressListener } from '@berth/gateway/egress/listener'
import { CertificateAuthority } from '@berth/gateway/tls/certificate-authority'
import { Vaults } from '@berth/gateway/vaults/vaults'
import { authorization, credential, ownLoopback, startWebHost } from '@berth/gateway/fixture/egress-world'
import { makeCertificates } from '@berth/gateway/fixture/certificates'
import type { Random } from '../chaos/random.ts'
import { makeHost, patterns, type Tally } from './hosts.ts'
import { hostOf, isAllowed } from './second-rule.ts'

export interface RequestFuzz extends AsyncDisposable {
  /** Sends one and compares what came of it. */
  attempt(random: Random, tally: Tally): Promise<void>
  /** Names that were looked up although nobody allowed them, and connections to where nobody may go. */
  readonly trapped: string[]
}

interface Made {
  readonly bytes: string
  /** Undefined: to be refused. */
  readonly leadsTo: string | undefined
}

const ok = ['GET', 'HEAD', 'OPTIONS', 'DELETE'] as const
const wrongMethods = ['TRACE', 'TRACK', 'PROPFIND', 'get', 'GETX', 'SEARCH', 'PRI'] as const
const spoiling = [
  'Host: allowed.test\r\n',
  'Host : allowed.test\r\n',
  ' Host: allowed.test\r\n',
  'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n',
  'Transfer-Encoding: chunked, identity\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Content-Length: -1\r\n',
  'Content-Length: 0x10\r\n',
  'Content-Length: 1\r\nContent-Length: 1\r\n',
  'Connection: host\r\n',
  'Connection: authorization\r\n',
  'X\0: a\r\n',
  'X: a\0b\r\n',
  'X: a\nHost: evil.test\r\n',
  'X: a\rHost: evil.test\r\n',
  'Upgrade: h2c\r\nConnection: Upgrade\r\n',
  'Upgrade: websocket\r\nConnection: Upgrade\r\n',
  'Proxy-Authorization: Basic YTpi\r\n',
  'no colon\r\n',
] as const

export function makeRequest(random: Random): Made {
  const host = random.chance(0.35)
    ? makeHost(random)
    : random.pick(['allowed.test', 'x.wild.test', 'refused.test', 'a-b.test'])
  const port = random.pick([
    '',
    '',
    '',
    ':80',
    ':443',
    ':0443',
    ':+443',
    ':0',
    ':65536',
    ':22',
    ':',
    ':80:80',
    ':8080',
    ':443@evil.test',
  ])
  const isTunnel = random.chance(0.4)
  const method = isTunnel ? 'CONNECT' : random.chance(0.9) ? random.pick(ok) : random.pick(wrongMethods)
  const authority = host + port
  const scheme = random.chance(0.95)
    ? 'http://'
    : random.pick(['https://', 'HTTP://', '//', 'ws://', '', 'http:/', 'http://u@'])
  const target = isTunnel
    ? authority
    : `${scheme}${authority}${random.pick(['/', '/a', '/a?b=c', '', '/%2e%2e/', '?q', '/#f', '/a b', '/\\', '/\u00ff'])}`
  const named = random.chance(0.85)
    ? authority
    : random.pick(['refused.test', 'allowed.test', 'allowed.test:80', '', 'allowed.test.', 'x'])
  const more = random.chance(0.85) ? '' : random.pick(spoiling)
  const version = random.chance(0.97)
    ? 'HTTP/1.1'
    : random.pick(['HTTP/1.0', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.1 x'])
  const end = random.chance(0.98) ? '\r\n' : random.pick(['\n', '\r', '\r\r\n'])
  const bytes =
    [`${method} ${target} ${version}`, `Host: ${named}`].map((line) => line + end).join('') +
    more +
    authorization +
    `Connection: close\r\n\r\n`
  // Older clients open tunnels with it.
  const isVersion = version === 'HTTP/1.1' || (isTunnel && version === 'HTTP/1.0')
  const isClean = more === '' && isVersion && end === '\r\n'
  return { bytes, leadsTo: isClean ? destination({ method, scheme, target, authority, named }) : undefined }
}

interface Parts {
  readonly method: string
  readonly scheme: string
  readonly target: string
  readonly authority: string
  readonly named: string
}

function destination({ method, scheme, target, authority, named }: Parts): string | undefined {
  const isTunnel = method === 'CONNECT'
  if (!isTunnel && (scheme !== 'http://' || !ok.some((each) => each === method))) return undefined
  // What could be read as more than a path.
  if (!isTunnel && Array.from(target).some((each) => each === '#' || each === '\\' || each <= ' ' || each > '~'))
    return undefined
  if (!isTunnel && (authority.includes('/') || authority.includes('?'))) return undefined
  const asked = split(authority, isTunnel ? undefined : '80')
  const told = split(named, isTunnel ? asked?.port : '80')
  if (asked === undefined || told === undefined || asked.host !== told.host || asked.port !== told.port)
    return undefined
  // There it takes a tunnel.
  if (!isTunnel && asked.port === '443') return undefined
  return isAllowed(patterns, asked.host, Number(asked.port)) ? asked.host : undefined
}

function split(authority: string, fallback: string | undefined): { host: string; port: string } | undefined {
  const colon = authority.indexOf(':')
  const host = hostOf(colon < 0 ? authority : authority.slice(0, colon))
  const port = colon < 0 ? fallback : authority.slice(colon + 1)
  if (host === undefined || port === undefined || String(Number(port)) !== port) return undefined
  return Number(port) >= 1 && Number(port) <= 65_535 ? { host, port } : undefined
}

export async function openRequestFuzz(): Promise<RequestFuzz> {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'fz-'))
  opened.defer(() => rm(dir, { recursive: true }))
  const certificates = await makeCertificates(dir, ['allowed.test'])
  const allowedHost = opened.use(await startWebHost(ownLoopback(1), certificates))
  const trap = opened.use(await startWebHost(ownLoopback(66), certificates))
  const audit = opened.use(await Audit.open(join(dir, 'egress.db')))
  const trapped: string[] = []
  const resolve = (name: string): Promise<string[]> => {
    const isKnown = hostOf(name) === name && isAllowed(patterns, name, 80)
    if (!isKnown) trapped.push(`looked up ${JSON.stringify(name)}`)
    return Promise.resolve([isKnown ? ownLoopback(1) : ownLoopback(66)])
  }
  // The trap can be dialled: that nobody comes is for the rule to see to.
  const mayDial = addressRule({ opened: [ownLoopback(1), ownLoopback(66)], own: () => [] })
  const logger = pino({ level: 'silent' })
  const traffic = opened.use(new Traffic({ record: audit, limit: undefined, logger }))
  const now = (): Date => new Date()
  const vaults = await Vaults.open({ directory: join(dir, 'vaults'), sealing: undefined, logger })
  const authority = await CertificateAuthority.open({ directory: join(dir, 'ca'), now })
  const trust = (): Trust => openTrust(undefined)
  const parts = { audit, traffic, vaults, authority, trust, logger, now, resolver: { resolve }, mayDial }
  const path = join(dir, 'e.sock')
  const policy = { type: 'limited' as const, hosts: patterns }
  const whose = { workspace_id: 'ws', vaults: [] }
  const owner_uid = process.getuid?.() ?? 0
  const way = { ...whose, socket_path: path, owner_uid, credential, policy, placeholders: [] }
  opened.use(await EgressListener.open(parts, { sessionId: 'sesn_fuzz', way, fresh: 'f' }))
  const owned = opened.move()
  return {
    trapped,
    attempt: async (random, tally) => {
      const { bytes, leadsTo } = makeRequest(random)
      tally.tried++
      const status = await statusOf(path, bytes)
      const isThrough = status >= 200 && status < 300
      if (isThrough) tally.allowed++
      // Names that the platform refuses for their letters may be refused; nothing else may differ.
      const isDoubtful = leadsTo?.includes('xn--') === true
      if (isThrough !== (leadsTo !== undefined) && !isDoubtful)
        tally.failures.push(`${JSON.stringify(bytes)}: ${status}, expected ${leadsTo ?? 'a refusal'}`)
      if (trap.connections() > 0) tally.failures.push(`${JSON.stringify(bytes)}: the trap was hit`)
      allowedHost.seen.length = 0
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** 0: no answer. */
function statusOf(path: string, bytes: string): Promise<number> {
  return new Promise((done) => {
    let text = ''
    // As latin1, a letter beyond it would be cut to another one.
    const socket = connect(path, () => socket.write(bytes, /[\u0100-\uffff]/.test(bytes) ? 'utf8' : 'latin1'))
    const settle = (): void => {
      socket.destroy()
      done(Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? 0))
    }
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.includes('\r\n')) settle()
    })
    socket.on('error', settle)
    socket.on('close', settle)
  })
}
