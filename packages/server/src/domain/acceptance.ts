/** Which client events a session takes in which state; the table is that of the wire profile. */
import type { ClientEvent } from '@berth/protocol/api/client-event'
import type { StopReason } from '@berth/protocol/api/event'
import { BerthError } from '@berth/protocol'
import type { Call, TurnState } from './turn/turn-state.ts'
import { isPending } from './turn/turn-state.ts'

export interface SessionSituation {
  readonly status: 'idle' | 'running' | 'rescheduling' | 'terminated'
  readonly stopReason: StopReason | null
  readonly turn: TurnState
  /** The session has cost all that it may. */
  readonly isBudgetReached: boolean
}

/** Throws for an event that no session takes here: parts of the profile that this server does not have. */
export function checkSupported(event: ClientEvent): void {
  switch (event.type) {
    case 'user.define_outcome':
    case 'system.message':
      throw new BerthError('unsupported', `${event.type} events are not supported`)
    case 'user.tool_result':
      throw new BerthError('invalid_request', 'user.tool_result is for self_hosted environments only')
    case 'user.message':
      return event.content.forEach((block) => checkBlock(event.type, block))
    case 'user.custom_tool_result':
      return event.content?.forEach((block) => checkBlock(event.type, block))
    case 'user.interrupt':
    case 'user.tool_confirmation':
      return
    default:
      event satisfies never
  }
}

function checkBlock(type: string, block: { readonly type: string; readonly source?: unknown }): void {
  if (block.type === 'redacted')
    throw new BerthError('invalid_request', `${type}: content: redacted blocks cannot be sent`)
  const { source } = block
  if (typeof source !== 'object' || source === null || !('type' in source)) return
  if (source.type === 'file' || source.type === 'url') {
    throw new BerthError(
      'unsupported',
      `${type}: content: ${block.type} sources of type ${source.type} are not supported; send base64`,
    )
  }
}

const atBudget = 'user.tool_confirmation, user.tool_result, user.custom_tool_result and user.interrupt'

export function checkMessage(now: SessionSituation): void {
  checkAlive(now)
  if (now.status === 'idle' && now.stopReason?.type === 'requires_action') {
    const ids = now.stopReason.event_ids.join(', ')
    throw new BerthError(
      'invalid_request',
      `the session waits for an answer to ${ids}; answer or interrupt before sending a user.message`,
    )
  }
  if (now.status === 'idle' && (now.turn.paused !== null || now.isBudgetReached)) {
    throw new BerthError(
      'invalid_request',
      `the session has reached its budget; until that is raised or removed it takes only ${atBudget}`,
    )
  }
}

export function checkInterrupt(now: SessionSituation, threadId: string | null, primaryThreadId: string): void {
  checkAlive(now)
  if (threadId !== null && threadId !== primaryThreadId) {
    throw new BerthError('invalid_request', `session_thread_id: no thread ${threadId} in this session`)
  }
}

/** The call that an answer is for: `[model's id, call]`. `custom`: a result, `confirmed`: a yes or no. */
export function pendingCall(now: SessionSituation, kind: 'custom' | 'confirmed', eventId: string): [string, Call] {
  checkAlive(now)
  const found = Object.entries(now.turn.calls).find(
    ([, call]) => call.eventId === eventId && (call.kind === 'custom') === (kind === 'custom'),
  )
  if (found === undefined || !isPending(found[1])) {
    const field = kind === 'custom' ? 'custom_tool_use_id' : 'tool_use_id'
    throw new BerthError('invalid_request', `${field}: no call ${eventId} is waiting for an answer in this session`)
  }
  return found
}

function checkAlive(now: SessionSituation): void {
  if (now.status === 'terminated')
    throw new BerthError('invalid_request', 'the session is terminated and takes no more events')
}
