/** What was decided about a session's way out. Ours: the profile does not have it. */
import { z } from 'zod'
import { egressDecision as decided, egressTraffic } from '../gateway.ts'
import { pageOf } from './page.ts'
import { idText, timestamp } from './text.ts'

export const egressDecision = z
  .object({
    /** Grows with every decision. */
    id: z.int(),
    type: z.literal('egress_decision'),
    session_id: idText,
    created_at: timestamp,
    /** `connect`: a tunnel, for TLS or WebSockets; `http`: a plain request; `tls`: one inside of TLS that ends in the gateway. */
    protocol: decided.shape.protocol,
    /** As asked for; null where that was no host, or was never read. */
    host: z.string().nullable(),
    port: z.int().nullable(),
    decision: decided.shape.decision,
    reason: decided.shape.reason,
    /** Names of the secrets that went out with it. */
    credentials: z.array(z.string()),
  })
  .meta({ id: 'EgressDecision' })
export type EgressDecision = z.infer<typeof egressDecision>

/** Decisions, and beside them what the session has sent to hosts and received from them since it was made. */
export const egressPage = pageOf(egressDecision).extend(egressTraffic.shape)
export type EgressPage = z.infer<typeof egressPage>
