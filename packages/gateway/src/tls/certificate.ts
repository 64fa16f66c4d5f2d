import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  bitString,
  explicit,
  implicit,
  integer,
  isTrue,
  objectId,
  octetString,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts'

export interface Life {
  readonly from: Date
  readonly until: Date
}

const ECDSA_WITH_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'))
const VERSION_3 = explicit(0, integer(Buffer.from([2])))

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectId(id), ...(critical ? [isTrue] : []), octetString(value))
}

const basicConstraints = (value: Buffer): Buffer => extension('2.5.29.19', true, value)
/** Bits from the left: 0 is for signatures, 5 for those below certificates. */
const keyUsage = (bit: number): Buffer => extension('2.5.29.15', true, bitString(Buffer.from([128 >>> bit]), 7 - bit))
const serverAuthentication = extension('2.5.29.37', false, sequence(objectId('1.3.6.1.5.5.7.3.1')))
const subjectNames = (host: string): Buffer =>
  extension('2.5.29.17', false, sequence(implicit(2, Buffer.from(host, 'latin1'))))
const subjectKeyId = (key: Buffer): Buffer => extension('2.5.29.14', false, octetString(key))
const authorityKeyId = (key: Buffer): Buffer => extension('2.5.29.35', false, sequence(implicit(0, key)))

function nameOf(commonName: string): Buffer {
  return sequence(set(sequence(objectId('2.5.4.3'), utf8String(commonName))))
}

function publicPart(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' })
}

function idOf(key: KeyObject): Buffer {
  return createHash('sha256').update(publicPart(key)).digest().subarray(0, 20)
}

interface Statement {
  readonly issuer: string
  readonly subject: string
  readonly life: Life
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
}

/** PEM. The serial number is fresh: 127 bits of chance. */
function signed({ issuer, subject, life, publicKey, extensions }: Statement, key: KeyObject): string {
  const serial = randomBytes(16)
  serial.writeUInt8(serial.readUInt8(0) & 127, 0)
  const statement = sequence(
    VERSION_3,
    integer(serial),
    ECDSA_WITH_SHA256,
    nameOf(issuer),
    sequence(time(life.from), time(life.until)),
    nameOf(subject),
    publicPart(publicKey),
    explicit(3, sequence(...extensions)),
  )
  const certificate = sequence(statement, ECDSA_WITH_SHA256, bitString(sign('sha256', statement, key)))
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

export interface AuthorityKey {
  readonly name: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** Of an authority that speaks for hosts and makes no further authorities. */
export function authorityCertificate({ name, privateKey, publicKey }: AuthorityKey, life: Life): string {
  const onlyLeaves = basicConstraints(sequence(isTrue, integer(Buffer.from([0]))))
  const extensions = [onlyLeaves, keyUsage(5), subjectKeyId(idOf(publicKey))]
  return signed({ issuer: name, subject: name, life, publicKey, extensions }, privateKey)
}

/** Of a server, for exactly this host. */
export function serverCertificate(
  by: AuthorityKey,
  { host, publicKey, life }: { readonly host: string; readonly publicKey: KeyObject; readonly life: Life },
): string {
  const extensions = [
    basicConstraints(sequence()),
    keyUsage(0),
    serverAuthentication,
    subjectNames(host),
    subjectKeyId(idOf(publicKey)),
    authorityKeyId(idOf(by.publicKey)),
  ]
  // What it is for is in the names; a common name could not hold every host.
  return signed({ issuer: by.name, subject: 'Berth egress', life, publicKey, extensions }, by.privateKey)
}
