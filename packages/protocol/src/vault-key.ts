/** The key by which an installation seals its vaults, as it stands in files and variables: 32 bytes, base64. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { BerthError } from './error.ts'

export const vaultKeyVariables = { key: 'BERTH_VAULT_KEY', file: 'BERTH_VAULT_KEY_FILE' } as const

const KEY_BYTES = 32
const KEY_TEXT = /^[A-Za-z0-9+/]{43}=$/
/** Read, written or run by others than the owner. */
const OTHERS = 0o077

/**
 * Of a process that is given it: the key itself, or a file that holds it. Undefined: neither is named. Throws `invalid_request` naming the
 * variable, never its value.
 */
export function readVaultKey(env: Readonly<Record<string, string | undefined>>): Buffer | undefined {
  const key = env[vaultKeyVariables.key] ?? ''
  if (key !== '') return parseVaultKey(key, vaultKeyVariables.key)
  const file = env[vaultKeyVariables.file] ?? ''
  return file === '' ? undefined : readVaultKeyFile(file, vaultKeyVariables.file)
}

/** `what` names the place in the message of the `invalid_request` that is thrown for a file that is missing, readable for others or no key. */
export function readVaultKeyFile(path: string, what: string): Buffer {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (cause) {
    throw new BerthError('invalid_request', `${what}: the file cannot be read`, { cause })
  }
  try {
    const { mode } = fstatSync(file)
    if ((mode & OTHERS) !== 0) {
      const text = (mode & 0o777).toString(8).padStart(4, '0')
      throw new BerthError('invalid_request', `${what}: the file is open to others (mode ${text}); it must be 0600`)
    }
    return parseVaultKey(readFileSync(file, 'utf8'), what)
  } finally {
    closeSync(file)
  }
}

/** Space around it does not matter. */
export function parseVaultKey(text: string, what: string): Buffer {
  const key = text.trim()
  if (!KEY_TEXT.test(key)) throw new BerthError('invalid_request', `${what}: must be ${KEY_BYTES} bytes in base64`)
  return Buffer.from(key, 'base64')
}
