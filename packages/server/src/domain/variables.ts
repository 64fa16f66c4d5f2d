/** Variables that stand in a session's sandbox for secrets of its vaults. */
import type { SessionError } from '@berth/protocol/api/event'
import type { EgressPolicy } from '@berth/protocol/gateway'
import type { Sealing } from '@berth/protocol/sealing'
import { z } from 'zod'

export interface Variable {
  readonly name: string
  readonly vaultId: string
  readonly credentialId: string
  /** To which the secret may go: names, or `*.` before one. */
  readonly hosts: readonly string[]
}

const PREFIX = 'berth-placeholder-'
/** 192 bits. */
const DIGITS = 32

/** The same as long as the session lives, of no use to another one, and known to nobody who has not the key. */
export function placeholderOf(sealing: Sealing, sessionId: string, name: string): string {
  return PREFIX + sealing.derive(JSON.stringify([sessionId, name])).slice(0, DIGITS)
}

const ids = z.array(z.string())

export function parseVaultIds(session: { readonly vault_ids: string }): string[] {
  return ids.parse(JSON.parse(session.vault_ids))
}

/** One for each variable whose secret cannot go to one of its hosts, because the session may not reach that at all. */
export function unreachableHosts(policy: EgressPolicy, variables: readonly Variable[]): SessionError[] {
  if (policy.type === 'unrestricted') return []
  return variables.flatMap(({ name, vaultId, credentialId, hosts }) => {
    const closed = hosts.filter((host) => !policy.hosts.some((allowed) => overlap(allowed, host)))
    if (closed.length === 0) return []
    return [
      {
        type: 'credential_host_unreachable_error' as const,
        message: `the environment does not allow ${closed.join(', ')}, where the secret of ${name} could go`,
        // The turn goes on without.
        retry_status: { type: 'retrying' as const },
        vault_id: vaultId,
        credential_id: credentialId,
      },
    ]
  })
}

/** Is there a host that both patterns stand for? */
function overlap(one: string, other: string): boolean {
  return one === other || isWithin(one, other) || isWithin(other, one)
}

function isWithin(narrow: string, wide: string): boolean {
  return wide.startsWith('*.') && narrow.endsWith(wide.slice(1))
}
