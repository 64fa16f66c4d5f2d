import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { connect, TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { temporary } from '../fixture/running-gateway.ts'
import { CertificateAuthority } from './certificate-authority.ts'

const DAY_MS = 86_400_000

/** The certificate that a client of `ca` is shown for the host, or why it does not take it. */
async function shown(authority: CertificateAuthority, host: string, ca: string, name = host): Promise<X509Certificate> {
  const [near, far] = duplexPair()
  const server = new TLSSocket(near, { isServer: true, secureContext: authority.contextFor(host) })
  server.on('error', () => undefined)
  const client = connect({ socket: far, servername: name, ca })
  try {
    await once(client, 'secureConnect')
    const certificate = client.getPeerX509Certificate()
    if (certificate === undefined) throw new Error('no certificate')
    return certificate
  } finally {
    client.destroy()
    server.destroy()
  }
}

test('an authority is made once, and its key is its owner’s alone', async () => {
  await using dir = await temporary()
  const directory = join(dir.path, 'ca')
  const now = () => new Date()
  const first = await CertificateAuthority.open({ directory, now })
  const again = await CertificateAuthority.open({ directory, now })
  expect(again.certificate).toBe(first.certificate)
  expect((await stat(join(directory, 'key.pem'))).mode & 0o777).toBe(0o600)
  expect((await stat(directory)).mode & 0o777).toBe(0o700)
  const root = new X509Certificate(first.certificate)
  expect(root.ca).toBe(true)
  expect(root.verify(root.publicKey)).toBe(true)
  await writeFile(join(dir.path, 'ca.pem'), first.certificate)
  // A reader that is not ours nor Node's.
  const { stdout } = await promisify(execFile)('openssl', [
    'verify',
    '-x509_strict',
    '-CAfile',
    join(dir.path, 'ca.pem'),
    join(dir.path, 'ca.pem'),
  ])
  expect(stdout).toContain('OK')
})

test('certificates hold for one host, and for those who trust this authority', async () => {
  await using dir = await temporary()
  const now = () => new Date()
  const mine = await CertificateAuthority.open({ directory: join(dir.path, 'a'), now })
  const other = await CertificateAuthority.open({ directory: join(dir.path, 'b'), now })
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.test`
  for (const host of ['api.example.com', long]) {
    const certificate = await shown(mine, host, mine.certificate)
    expect(certificate.subjectAltName).toBe(`DNS:${host}`)
    expect(certificate.ca).toBe(false)
    const root = join(dir.path, 'root.pem')
    const leaf = join(dir.path, 'leaf.pem')
    await writeFile(root, mine.certificate)
    await writeFile(leaf, certificate.toString())
    const verify = ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', host, '-CAfile', root, leaf]
    expect((await promisify(execFile)('openssl', verify)).stdout).toContain('OK')
  }
  await expect(shown(mine, 'api.example.com', mine.certificate, 'other.example.com')).rejects.toMatchObject({
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  })
  await expect(shown(mine, 'api.example.com', other.certificate)).rejects.toThrow(/unable to|signature/)
})

test('certificates are renewed in time, and a renewed authority is the one that sandboxes know', async () => {
  await using dir = await temporary()
  let clock = Date.now() - 2.2 * DAY_MS
  const parts = { directory: join(dir.path, 'ca'), now: () => new Date(clock) }
  const authority = await CertificateAuthority.open(parts)
  const first = await shown(authority, 'a.test', authority.certificate)
  expect((await shown(authority, 'a.test', authority.certificate)).serialNumber).toBe(first.serialNumber)
  clock = Date.now()
  const second = await shown(authority, 'a.test', authority.certificate)
  expect(second.serialNumber).not.toBe(first.serialNumber)
  expect(first.validToDate.getTime()).toBeGreaterThan(clock)
  clock = Date.now() + 8.5 * 365 * DAY_MS
  const renewed = await CertificateAuthority.open(parts)
  expect(renewed.certificate).not.toBe(authority.certificate)
  clock = Date.now()
  const leaf = await shown(renewed, 'b.test', authority.certificate)
  expect(leaf.subjectAltName).toBe('DNS:b.test')
})

test('it keeps 256 certificates, and throws nothing away that it cannot replace', async () => {
  await using dir = await temporary()
  const parts = { directory: join(dir.path, 'ca'), now: () => new Date() }
  const authority = await CertificateAuthority.open(parts)
  const first = authority.contextFor('h0.test')
  for (let n = 1; n <= 255; n++) authority.contextFor(`h${n}.test`)
  expect(authority.contextFor('h0.test')).toBe(first)
  authority.contextFor('one-more.test')
  expect(authority.size).toBe(256)
  expect(authority.contextFor('h0.test')).toBe(first)
  const key = join(parts.directory, 'key.pem')
  await writeFile(key, 'cut')
  await expect(CertificateAuthority.open(parts)).rejects.toThrow(/holds no key/)
  expect(await readFile(key, 'utf8')).toBe('cut')
})
