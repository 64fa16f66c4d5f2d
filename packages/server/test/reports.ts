/** What a runner may report, and the gateway with it. */
import type { Report } from '@berth/protocol'

export const idle: Report = {
  type: 'message',
  message: { type: 'system', subtype: 'session_state_changed', state: 'idle' },
}

/** A model request was refused because of what it would cost. */
export const unpaid: Report = {
  type: 'message',
  message: {
    type: 'assistant',
    error: 'billing_error',
    message: { id: 'msg', model: '<synthetic>', content: [{ type: 'text', text: 'API Error: 402' }] },
  },
}

/** The gateway says that it has refused when the CLI reports that a request was not paid for. */
export function usageOf(
  frames: readonly { readonly report: Report }[],
): { models: []; stopped: 'workspace_limit' } | null {
  const isRefused = frames.some(
    ({ report }) => report.type === 'message' && report.message['error'] === 'billing_error',
  )
  return isRefused ? { models: [], stopped: 'workspace_limit' } : null
}
