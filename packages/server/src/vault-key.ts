/** The key of an installation's vaults: found or made before anything that seals or opens is started. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { text } from 'node:stream/consumers'
import { BerthError } from '@berth/protocol'
import { Sealing } from '@berth/protocol/sealing'
import { parseVaultKey, readVaultKeyFile } from '@berth/protocol/vault-key'
import { settings } from './settings.ts'
import { explainFault } from './store/sqlite/faults.ts'
import { otherKey, vaultKeyEntry } from './store/vault-key.ts'

const COMMAND_MS = 30_000

export interface VaultKeyConfig {
  /** File that holds it. */
  readonly file?: string | undefined
  /** For a shell; prints it. */
  readonly command?: string | undefined
}

/**
 * The key that is named, else that of the data directory, which is made when there has been none. The caller has claimed the directory. Throws
 * `invalid_request` for a key that cannot be had, is open to others, or is not the one that the vaults in the database were sealed with.
 */
export async function prepareVaultKey(
  dataDir: string,
  { file, command }: VaultKeyConfig,
  signal: AbortSignal,
): Promise<Buffer> {
  const own = join(dataDir, 'vault.key')
  const sealedWith = readSealedWith(dataDir)
  if (command === undefined && file === undefined && !existsSync(own)) {
    if (sealedWith !== undefined) {
      throw new BerthError(
        'invalid_request',
        `${own}: is missing, and the vaults of the database open with no other key`,
      )
    }
    return makeKey(own)
  }
  const key = command === undefined ? readKeyFile(file, own) : await runCommand(command, signal)
  if (sealedWith !== undefined && sealedWith !== fingerprintOf(new Sealing(key))) throw otherKey()
  return key
}

/** Tells keys apart, and nothing of them. */
export function fingerprintOf(sealing: Sealing): string {
  return sealing.derive('fingerprint')
}

function readKeyFile(file: string | undefined, own: string): Buffer {
  return file === undefined ? readVaultKeyFile(own, own) : readVaultKeyFile(file, settings.vaultKeyFile.env)
}

/** Whole or not at all: a key that was cut off would never be right again. */
async function makeKey(path: string): Promise<Buffer> {
  const key = randomBytes(32)
  const temporary = `${path}.new`
  await rm(temporary, { force: true })
  {
    await using file = await open(temporary, 'wx', 0o600)
    await file.writeFile(`${key.toString('base64')}\n`)
    await file.sync()
  }
  await rename(temporary, path)
  // What is sealed from now on must not outlive it.
  await using directory = await open(dirname(path))
  await directory.sync()
  return key
}

/** What it prints is seen by nobody else: neither an argument nor a log has it. Its own complaints go to our standard error. */
async function runCommand(command: string, signal: AbortSignal): Promise<Buffer> {
  const { env } = settings.vaultKeyCommand
  const child = spawn('/bin/sh', ['-c', command], {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal: AbortSignal.any([signal, AbortSignal.timeout(COMMAND_MS)]),
  })
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  const [code, printed] = await Promise.all([ended, text(child.stdout)]).catch((cause: unknown) => {
    throw new BerthError('invalid_request', `${env}: the command could not be run, or took too long`, { cause })
  })
  if (code !== 0) throw new BerthError('invalid_request', `${env}: the command ended with ${code ?? 'a signal'}`)
  return parseVaultKey(printed, env)
}

/** Fingerprint of the key that the vaults of the database are sealed with; undefined: it has none. Throws for a damaged database, as the store does. */
function readSealedWith(dataDir: string): string | undefined {
  const path = join(dataDir, 'berth.db')
  if (!existsSync(path)) return undefined
  try {
    return readEntry(path)
  } catch (error) {
    throw explainFault(error, path)
  }
}

function readEntry(path: string): string | undefined {
  using database = new DatabaseSync(path, { readOnly: true })
  const has = database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'vaults'").get()
  // A server that ended before it had made its tables.
  if (has === undefined) return undefined
  const row = database
    .prepare('SELECT value FROM meta WHERE key = ? AND EXISTS (SELECT 1 FROM vaults)')
    .get(vaultKeyEntry)
  const value = row?.['value']
  return typeof value === 'string' ? value : undefined
}
