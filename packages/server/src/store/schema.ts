/** The tables as Kysely sees them; `migrations/` makes them. Columns named in SQL comments there are not explained again. */
import type { KeyScope } from '@berth/protocol/api/key'
import type { Generated } from 'kysely'
import type { CheckpointCause } from '../domain/checkpoint.ts'

export type SessionStatus = 'idle' | 'running' | 'rescheduling' | 'terminated'
export type SandboxState = 'starting' | 'ready' | 'lost'
export type InputState = 'queued' | 'delivered' | 'paused' | 'done'

export interface Database {
  meta: { key: string; value: string }
  workspaces: { id: string; name: string; created_at: string }
  api_keys: {
    ord: Generated<number>
    id: string
    workspace_id: string
    name: string
    hash: string
    hint: string
    scope: KeyScope
    created_at: string
    expires_at: string | null
    last_used_at: string | null
    revoked_at: string | null
  }
  agents: {
    ord: Generated<number>
    id: string
    workspace_id: string
    version: number
    created_at: string
    updated_at: string
    archived_at: string | null
  }
  agent_versions: { ord: Generated<number>; agent_id: string; version: number; body: string; created_at: string }
  environments: {
    ord: Generated<number>
    id: string
    workspace_id: string
    body: string
    warm_size: number
    created_at: string
    updated_at: string
    archived_at: string | null
  }
  vaults: {
    ord: Generated<number>
    id: string
    workspace_id: string
    display_name: string
    metadata: string
    created_at: string
    updated_at: string
    archived_at: string | null
  }
  vault_credentials: {
    ord: Generated<number>
    id: string
    workspace_id: string
    vault_id: string
    display_name: string | null
    metadata: string
    auth: string
    slot: string
    version: number
    sealed: string | null
    created_at: string
    updated_at: string
    archived_at: string | null
  }
  sandboxes: {
    id: string
    workspace_id: string
    driver: string
    nonce: string
    state: SandboxState
    created_at: string
    warm_for: string | null
    counted_to: string | null
  }
  session_groups: {
    id: string
    workspace_id: string
    environment_id: string
    name: string | null
    sandbox: string
    next_uid: number
    lease_holder: string | null
    lease_until: string | null
    epoch: number
  }
  departures: { sandbox_id: string; session_id: string; uid: number; subdir: string }
  sandbox_time: { workspace_id: string; day: string; agent_id: string; session_id: string; ms: number }
  sessions: {
    ord: Generated<number>
    id: string
    workspace_id: string
    environment_id: string
    environment: string
    agent_id: string
    agent_version: number
    agent: string
    title: string | null
    metadata: string
    status: SessionStatus
    stop_reason: string | null
    created_at: string
    updated_at: string
    archived_at: string | null
    thread_id: string
    last_seq: number
    last_sdk_seq: number
    sdk_session_id: string
    has_transcript: number
    sandbox_id: string | null
    name_inside: string
    opened: string | null
    link_received: number
    link_sent: number
    turn: string
    usage: string
    group_id: string
    sandbox_name: string | null
    vault_ids: string
    uid: number
    subdir: string
    budget: string | null
    failures: number
    needs_restore: number
    active_ms: number
    active_since: string | null
    idle_since: string | null
    is_changed: number
    files_in: string | null
  }
  events: {
    session_id: string
    seq: number
    id: string
    type: string
    body: string
    processed_at: string | null
    place: number | null
    transcripts: string | null
  }
  inputs: {
    session_id: string
    seq: number
    event_id: string
    uuid: string
    continuation: string | null
    is_taken: number
    state: InputState
  }
  transcripts: { session_id: string; path: string; start: number; length: number; text: string }
  outbox: { session_id: string; seq: number; body: string }
  seen_tools: { session_id: string; server: string; place: string; tools: string }
  sdk_messages: { session_id: string; seq: number; body: string }
  packs: {
    ord: Generated<number>
    id: string
    workspace_id: string
    bytes: number
    save_id: string | null
    is_damaged: number
  }
  chunks: {
    hash: string
    pack: number
    frame_start: number
    frame_length: number
    start: number
    length: number
  }
  checkpoints: {
    ord: Generated<number>
    id: string
    workspace_id: string
    session_id: string
    created_at: string
    seq: number
    why: CheckpointCause
    sdk_session_id: string
    transcripts: string
    roots: string
    segments: string
    entries: number
    bytes: number
    stored_bytes: number
    refused: string
    refused_count: number
    is_damaged: number
  }
  requests: {
    scope: string
    key: string
    request_id: string
    fingerprint: string
    created_at: string
    operation: string | null
    result: string | null
    answer: string | null
  }
}
