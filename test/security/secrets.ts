/**
 * Every kind of secret that a Berth has, and where each may be. Whoever adds a kind adds it here; `canary.test.ts` looks for all of them
 * everywhere else.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { egressCredential } from '../../packages/server/src/engine/session-config.ts'

export interface Secret {
  readonly kind: string
  readonly value: string
  /** Files of the data directory that may hold it; everything else may not. */
  readonly places: readonly RegExp[]
}

/** Those that a test makes or is given, which may be nowhere: a key's hash is enough for the server. */
export function nowhere(values: Readonly<Record<string, string>>): Secret[] {
  return Object.entries(values).map(([kind, value]) => ({ kind, value, places: [] }))
}

const database = /^berth\.db(-wal)?$/

/** Those that Berth makes for itself. */
export function ownSecrets(dataDir: string): Secret[] {
  using db = new DatabaseSync(join(dataDir, 'berth.db'), { readOnly: true })
  const one = (sql: string): string[] =>
    db
      .prepare(sql)
      .all()
      .map((row) => String(Object.values(row)[0]))
  const nonces = one('SELECT nonce FROM sandboxes')
  const uids = [...new Set(one('SELECT uid FROM sessions').map(Number))]
  const linesOf = (path: string): string[] =>
    readFileSync(join(dataDir, path), 'utf8')
      .split('\n')
      .filter((line) => line.length > 20 && !line.startsWith('-----'))
  return [
    ...linesOf('vault.key').map((value) => ({
      kind: 'the key of the vaults',
      value,
      places: [/^vault\.key$/],
    })),
    ...linesOf('gateway/ca/key.pem')
      .slice(0, 1)
      .map((value) => ({ kind: 'the key of the authority', value, places: [/^gateway\/ca\/key\.pem$/] })),
    ...one("SELECT value FROM meta WHERE key = 'port_secret'").map((value) => ({
      kind: 'what signed URLs are signed with',
      value,
      places: [database],
    })),
    ...nonces.map((value) => ({
      kind: 'a launch’s nonce',
      value,
      // What the sandbox was started with stands beside it: the runner is told by its environment.
      places: [database, /^sbx\/(?:\.runtime\/)?[^/]+\/config\.json$/],
    })),
    ...nonces.flatMap((nonce) =>
      uids.map((uid) => ({
        kind: 'a password of a way out',
        value: egressCredential(nonce, uid),
        // It follows from the nonce beside it. The gateway asks for it; the session's processes have it, and may have written it down.
        places: [database, /^gateway\/sessions\/[^/]+\.json$/, /^sbx\/[^/]+\/disk\.img$/],
      })),
    ),
  ]
}
