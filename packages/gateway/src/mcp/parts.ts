import type { Sealing } from '@berth/protocol/sealing'
import type { BodyBudget } from '../body.ts'
import type { Trust } from '../egress/dial-tls.ts'
import type { WayOutParts } from '../egress/way-out.ts'
import type { Logger } from '../logger.ts'
import type { Vaults } from '../vaults/vaults.ts'
import { BearerTokens } from './bearer-tokens.ts'
import { RenewedTokens } from './renewed-tokens.ts'
import type { McpParts } from './requests.ts'

type Way = WayOutParts & { readonly trust: () => Trust; readonly logger: Logger }

interface Given {
  /** Of what token endpoints have given. */
  readonly directory: string
  /** Undefined: there is no key, and so there are no credentials. */
  readonly sealing: Sealing | undefined
  readonly vaults: Vaults
  readonly bodies: BodyBudget
}

/** What sessions need to reach MCP servers. Its `tokens` are to be disposed. */
export async function openMcp(way: Way, { directory, sealing, vaults, bodies }: Given): Promise<McpParts> {
  const { resolver, mayDial, audit, traffic, now, trust, logger } = way
  const renewed = sealing && (await RenewedTokens.open({ directory, sealing, logger }))
  const tokens = new BearerTokens({ vaults, renewed, reach: { resolver, mayDial, trust }, logger, now })
  await tokens.forgetOthers()
  return { resolver, mayDial, audit, traffic, now, trust, vaults, tokens, bodies, logger }
}
