import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext, type SecureContext } from 'node:tls'
import { BerthError } from '@berth/protocol/error'
import { authorityCertificate, type AuthorityKey, serverCertificate } from './certificate.ts'
import { writeStateFile } from '../state-file.ts'

const DAY_MS = 86_400_000
const YEAR_MS = 365 * DAY_MS
/** A new certificate of the same key takes its place this long before the end: sandboxes that know the old one go on. */
const AUTHORITY = { life: 10 * YEAR_MS, renewedBefore: 2 * YEAR_MS }
const LEAF = { life: 3 * DAY_MS, renewedBefore: DAY_MS }
/** For clocks in sandboxes that go after ours. */
const EARLIER_MS = DAY_MS
const MAX_LEAVES = 256

const NAME = 'Berth egress authority'

interface Leaf {
  readonly context: SecureContext
  readonly until: number
}

export interface AuthorityParts {
  /** Made when it is missing. */
  readonly directory: string
  readonly now: () => Date
}

/** Speaks for hosts to sandboxes of this installation, which alone trust it. Its key is in its directory and nowhere else. */
export class CertificateAuthority {
  /** PEM. */
  readonly certificate: string
  readonly #key: AuthorityKey
  readonly #now: () => Date
  /** One for all hosts: it never leaves the process. */
  readonly #leafKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly #leafPem = this.#leafKey.privateKey.export({ type: 'pkcs8', format: 'pem' })
  /** The least recently used first. */
  readonly #leaves = new Map<string, Leaf>()

  private constructor(key: AuthorityKey, certificate: string, now: () => Date) {
    this.#key = key
    this.certificate = certificate
    this.#now = now
  }

  /** With what an earlier process made. Throws `unavailable` for a key that cannot be read: a new one would be unknown to sandboxes. */
  static async open({ directory, now }: AuthorityParts): Promise<CertificateAuthority> {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const privateKey = await keyIn(join(directory, 'key.pem'))
    const key = { name: NAME, privateKey, publicKey: createPublicKey(privateKey) }
    const path = join(directory, 'cert.pem')
    const kept = await textOf(path)
    if (kept !== undefined && isGood(kept, privateKey, now())) return new CertificateAuthority(key, kept, now)
    const from = new Date(now().getTime() - EARLIER_MS)
    const made = authorityCertificate(key, { from, until: new Date(now().getTime() + AUTHORITY.life) })
    await writeStateFile(path, made)
    return new CertificateAuthority(key, made, now)
  }

  /** With which TLS ends here for this host. The caller has made sure that it is one for which it may. */
  contextFor(host: string): SecureContext {
    const now = this.#now().getTime()
    const known = this.#leaves.get(host)
    this.#leaves.delete(host)
    const leaf = known !== undefined && known.until - LEAF.renewedBefore > now ? known : this.#mint(host, now)
    this.#leaves.set(host, leaf)
    const [oldest] = this.#leaves.keys()
    if (this.#leaves.size > MAX_LEAVES && oldest !== undefined) this.#leaves.delete(oldest)
    return leaf.context
  }

  /** Hosts of which a certificate is kept, at most 256. */
  get size(): number {
    return this.#leaves.size
  }

  #mint(host: string, now: number): Leaf {
    const until = now + LEAF.life
    const life = { from: new Date(now - EARLIER_MS), until: new Date(until) }
    const cert = serverCertificate(this.#key, { host, publicKey: this.#leafKey.publicKey, life })
    return { context: createSecureContext({ cert, key: this.#leafPem, minVersion: 'TLSv1.2' }), until }
  }
}

async function keyIn(path: string): Promise<KeyObject> {
  const kept = await textOf(path)
  if (kept !== undefined) {
    try {
      const key = createPrivateKey(kept)
      if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key
    } catch {
      // Said below.
    }
    throw new BerthError('unavailable', `${path} holds no key; without it, sandboxes made so far would trust nobody`)
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeStateFile(path, String(privateKey.export({ type: 'pkcs8', format: 'pem' })))
  return privateKey
}

function isGood(pem: string, key: KeyObject, now: Date): boolean {
  try {
    const certificate = new X509Certificate(pem)
    const left = certificate.validToDate.getTime() - now.getTime()
    return certificate.checkPrivateKey(key) && left > AUTHORITY.renewedBefore
  } catch {
    return false
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
