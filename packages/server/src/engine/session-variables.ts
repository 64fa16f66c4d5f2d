import type { SessionError } from '@berth/protocol/api/event'
import type { EgressRoute } from '@berth/protocol/gateway'
import { toEgressPolicy } from '../domain/networking.ts'
import { parseVaultIds, placeholderOf, unreachableHosts } from '../domain/variables.ts'
import type { SessionRow } from '../store/session-log.ts'
import type { EngineDeps } from './deps.ts'
import { environmentOf } from './session-config.ts'

/** The variables of a session's vaults, as they are now. */
export interface SessionVariables {
  /** For the CLI's environment. */
  readonly env: Readonly<Record<string, string>>
  /** The same for the gateway. */
  readonly placeholders: EgressRoute['placeholders']
  /** Credentials that are of no use where the session may go. */
  readonly lacks: readonly SessionError[]
}

export async function variablesOf(
  { store, sealing }: Pick<EngineDeps, 'store' | 'sealing'>,
  row: Pick<SessionRow, 'id' | 'workspace_id' | 'vault_ids' | 'environment'>,
): Promise<SessionVariables> {
  const vaultIds = parseVaultIds(row)
  if (vaultIds.length === 0) return { env: {}, placeholders: [], lacks: [] }
  const variables = await store.listVariables({ workspaceId: row.workspace_id, vaultIds })
  const pairs = variables.map(({ name }) => [name, placeholderOf(sealing, row.id, name)] as const)
  return {
    env: Object.fromEntries(pairs),
    placeholders: pairs.map(([secret_name, placeholder]) => ({ secret_name, placeholder })),
    lacks: unreachableHosts(toEgressPolicy(environmentOf(row).networking), variables),
  }
}
