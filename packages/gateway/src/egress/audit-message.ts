/** What the audit and its worker thread say to each other. */
import { egressDecision, egressTraffic } from '@berth/protocol/gateway'
import { z } from 'zod'

const auditRow = egressDecision.omit({ id: true }).extend({ session_id: z.string() })
export type AuditRow = z.infer<typeof auditRow>

const auditQuery = z.object({ session_id: z.string(), before: z.int().optional(), limit: z.int() })
export type AuditQuery = z.infer<typeof auditQuery>

const trafficRow = egressTraffic.extend({ session_id: z.string() })
/** To be added to what is there of the session. */
export type TrafficRow = z.infer<typeof trafficRow>

export const toAuditWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('write'), rows: z.array(auditRow) }),
  z.object({ type: z.literal('list'), query: z.int(), of: auditQuery }),
  z.object({ type: z.literal('add_traffic'), query: z.int(), rows: z.array(trafficRow) }),
  z.object({ type: z.literal('find_traffic'), query: z.int(), session_id: z.string() }),
  z.object({ type: z.literal('close') }),
])
export type ToAuditWorker = z.infer<typeof toAuditWorker>

export const fromAuditWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('written'), error: z.string().nullable() }),
  z.object({ type: z.literal('listed'), query: z.int(), decisions: z.array(egressDecision) }),
  z.object({ type: z.literal('traffic'), query: z.int(), traffic: egressTraffic }),
  z.object({ type: z.literal('traffic_added'), query: z.int() }),
  z.object({ type: z.literal('failed'), query: z.int(), error: z.string() }),
])
export type FromAuditWorker = z.infer<typeof fromAuditWorker>
/** The answer to what has a `query`. */
export type AuditAnswer = Exclude<FromAuditWorker, { type: 'ready' | 'written' }>

export const auditWorkerData = z.object({
  path: z.string(),
  bounds: z.object({ perSession: z.int().min(1), overall: z.int().min(1) }),
})
