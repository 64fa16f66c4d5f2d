/** What a session has that has not been in a sandbox yet, and whose log is empty. */
export const unbegun = {
  status: 'idle',
  archived_at: null,
  last_seq: 0,
  last_sdk_seq: 0,
  has_transcript: 0,
  sandbox_id: null,
  opened: null,
  link_received: 0,
  link_sent: 0,
  usage: '[]',
  failures: 0,
  needs_restore: 0,
  active_ms: 0,
  active_since: null,
  is_changed: 0,
  files_in: null,
} as const
