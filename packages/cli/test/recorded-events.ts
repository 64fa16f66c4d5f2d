import type { SessionEvent, StreamEvent } from '../src/follow.ts'

const processed_at = '2026-11-22T10:00:00.000Z'

/** A whole turn as the API writes it: thinking, text, tools that work and fail, an error that passes, the end. */
export const recordedEvents: SessionEvent[] = [
  { id: 'sevt_01', type: 'user.message', content: [{ type: 'text', text: 'count the\nlines' }], processed_at: null },
  { id: 'sevt_02', type: 'session.status_running', processed_at },
  { id: 'sevt_01', type: 'user.message', content: [{ type: 'text', text: 'count the\nlines' }], processed_at },
  { id: 'sevt_03', type: 'span.model_request_start', processed_at },
  { id: 'sevt_04', type: 'agent.thinking', processed_at },
  {
    id: 'sevt_05',
    type: 'agent.message',
    content: [{ type: 'text', text: 'I count them first. 日本語 é' }],
    processed_at,
  },
  {
    id: 'sevt_06',
    type: 'agent.tool_use',
    name: 'bash',
    input: { command: 'seq 1 12\nprintf done', description: 'Count' },
    processed_at,
  },
  {
    id: 'sevt_07',
    type: 'agent.tool_result',
    tool_use_id: 'sevt_06',
    content: [{ type: 'text', text: `${Array.from({ length: 12 }, (_, n) => `line ${n + 1}`).join('\n')}\ndone\n` }],
    processed_at,
  },
  {
    id: 'sevt_08',
    type: 'agent.tool_use',
    name: 'write',
    input: {
      file_path: '/workspace/a/very/long/path/that/does/not/fit/into/a/terminal/of/sixty/columns.txt',
      content: 'x',
    },
    processed_at,
  },
  {
    id: 'sevt_09',
    type: 'agent.tool_result',
    tool_use_id: 'sevt_08',
    content: [{ type: 'text', text: '\u001b[31mpermission denied\u001b[0m \u001b]0;pwned\u0007' }],
    is_error: true,
    processed_at,
  },
  {
    id: 'sevt_10',
    type: 'agent.mcp_tool_use',
    name: 'search',
    mcp_server_name: 'docs',
    input: { text: 'lines', limit: 3 },
    processed_at,
  },
  { id: 'sevt_11', type: 'agent.mcp_tool_result', mcp_tool_use_id: 'sevt_10', content: [], processed_at },
  {
    id: 'sevt_12',
    type: 'session.error',
    error: { type: 'model_overloaded_error', message: 'Overloaded', retry_status: { type: 'retrying' } },
    processed_at,
  },
  { id: 'sevt_13', type: 'session.status_rescheduled', processed_at },
  { id: 'sevt_14', type: 'session.status_running', processed_at },
  { id: 'sevt_17', type: 'user.interrupt', processed_at: null },
  { id: 'sevt_17', type: 'user.interrupt', processed_at },
  {
    id: 'sevt_15',
    type: 'agent.message',
    content: [{ type: 'text', text: 'There are 13 lines.\r\nDone.' }],
    processed_at,
  },
  { id: 'sevt_16', type: 'session.status_idle', stop_reason: { type: 'end_turn' }, stop_details: null, processed_at },
]

/** The last message once more, as a stream with previews brings it, cut inside an escape sequence and inside a line end. */
export const recordedDeltas: StreamEvent[] = [
  { type: 'event_start', event: { type: 'agent.message', id: 'sevt_20' } },
  delta('sevt_20', 'There are \u001b'),
  delta('sevt_20', '[2J13 lines.\r'),
  delta('sevt_20', '\nDo'),
  {
    id: 'sevt_20',
    type: 'agent.message',
    content: [{ type: 'text', text: 'There are \u001b[2J13 lines.\r\nDone.' }],
    processed_at,
  },
  { type: 'event_start', event: { type: 'agent.message', id: 'sevt_21' } },
  delta('sevt_21', 'This one is cut'),
  {
    id: 'sevt_22',
    type: 'span.model_request_end',
    model_request_start_id: 'sevt_03',
    is_error: true,
    model_usage: { input_tokens: 1, output_tokens: 1, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
    processed_at,
  },
  { id: 'sevt_23', type: 'agent.message', content: [{ type: 'text', text: 'After it.' }], processed_at },
]

function delta(event_id: string, text: string): StreamEvent {
  return { type: 'event_delta', event_id, delta: { type: 'content_delta', index: 0, content: { type: 'text', text } } }
}
