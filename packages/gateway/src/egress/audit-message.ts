/** What the audit and its worker thread say to each other. */
import { egressDecision } from '@berth/protocol/gateway'
import { z } from 'zod'

const auditRow = egressDecision.omit({ id: true }).extend({ session_id: z.string() })
export type AuditRow = z.infer<typeof auditRow>

const auditQuery = z.object({ session_id: z.string(), before: z.int().optional(), limit: z.int() })
export type AuditQuery = z.infer<typeof auditQuery>

export const toAuditWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('write'), rows: z.array(auditRow) }),
  z.object({ type: z.literal('list'), query: z.int(), of: auditQuery }),
  z.object({ type: z.literal('close') }),
])
export type ToAuditWorker = z.infer<typeof toAuditWorker>

export const fromAuditWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('written'), error: z.string().nullable() }),
  z.object({
    type: z.literal('listed'),
    query: z.int(),
    decisions: z.array(egressDecision),
    error: z.string().nullable(),
  }),
])
export type FromAuditWorker = z.infer<typeof fromAuditWorker>

export const auditWorkerData = z.object({
  path: z.string(),
  bounds: z.object({ perSession: z.int().min(1), overall: z.int().min(1) }),
})
