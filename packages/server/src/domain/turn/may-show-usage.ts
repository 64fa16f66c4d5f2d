import type { Report } from '@berth/protocol'
import { mayShowCall } from './transcript-lines.ts'

/** May the commit of this report show the session's usage, or depend on whether the gateway has refused a request? */
export function mayShowUsage(report: Report): boolean {
  switch (report.type) {
    case 'message':
      // A request that was refused ends the turn: why, the gateway says.
      if (report.message['type'] === 'assistant') return typeof report.message['error'] === 'string'
      if (report.message['type'] === 'result') return report.message['is_error'] === true
      return report.message['type'] === 'system' && report.message['subtype'] === 'session_state_changed'
    case 'tool_call':
      return report.policy === 'always_ask' || report.name.startsWith('mcp__')
    case 'model_request':
      return report.phase === 'end'
    case 'exited':
    case 'refused':
      return true
    case 'transcript':
      return mayShowCall(report.text)
    case 'started':
    case 'call_begins':
    case 'mcp_failure':
    case 'seen_tools':
      return false
    default:
      return report satisfies never
  }
}
