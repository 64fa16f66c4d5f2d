import { readFileSync } from 'node:fs'
import { BerthError } from '@berth/protocol/error'

const KEY_FILE = 'BERTH_VAULT_KEY_FILE'

/** The key by which vaults are sealed: 32 bytes, base64, in a file. Undefined: none is named. Throws `invalid_request` naming the variable. */
export function readVaultKey(env: Readonly<Record<string, string | undefined>>): Buffer | undefined {
  const path = env[KEY_FILE] ?? ''
  if (path === '') return undefined
  try {
    const key = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64')
    if (key.length === 32) return key
  } catch (cause) {
    throw new BerthError('invalid_request', `${KEY_FILE}: the file cannot be read`, { cause })
  }
  throw new BerthError('invalid_request', `${KEY_FILE}: the file must hold 32 bytes in base64`)
}
