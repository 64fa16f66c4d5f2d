import { homedir } from 'node:os'
import { join } from 'node:path'

/**
 * Where `serve` keeps everything unless told otherwise: the system's state directory for root, else the user's. Short, because unix
 * sockets of sandboxes are below it and their paths hold 107 bytes at most.
 */
export function defaultDataDir(env: Readonly<Record<string, string | undefined>>): string {
  const state = env.XDG_STATE_HOME
  if (state !== undefined && state !== '') return join(state, 'berth')
  return process.getuid?.() === 0 ? '/var/lib/berth' : join(homedir(), '.local', 'state', 'berth')
}
