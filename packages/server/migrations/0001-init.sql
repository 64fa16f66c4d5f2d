-- Never edited once released; a change is a new file. Times are RFC 3339 text in UTC, JSON is text, booleans are 0 and 1.

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE workspaces (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  created_at TEXT NOT NULL
);

CREATE TABLE api_keys (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  name TEXT NOT NULL,
  -- sha-256 of the key, hex; the key itself is nowhere.
  hash TEXT NOT NULL UNIQUE,
  -- The key's first characters, so that a person can tell keys apart.
  hint TEXT NOT NULL,
  -- 'full' or 'read'.
  scope TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT,
  last_used_at TEXT,
  revoked_at TEXT
);
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, ord);

CREATE TABLE agents (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  version INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  archived_at TEXT
);
CREATE INDEX agents_by_workspace ON agents (workspace_id, ord);

CREATE TABLE agent_versions (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  agent_id TEXT NOT NULL REFERENCES agents (id),
  version INTEGER NOT NULL,
  body TEXT NOT NULL,
  created_at TEXT NOT NULL,
  UNIQUE (agent_id, version)
);

CREATE TABLE environments (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  body TEXT NOT NULL,
  -- The body's config.berth.warm_pool.size.
  warm_size INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  archived_at TEXT
);
CREATE INDEX environments_with_pools ON environments (ord) WHERE warm_size > 0;
CREATE INDEX environments_by_workspace ON environments (workspace_id, ord);

CREATE TABLE vaults (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  display_name TEXT NOT NULL,
  metadata TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  archived_at TEXT
);
CREATE INDEX vaults_by_workspace ON vaults (workspace_id, ord);

CREATE TABLE vault_credentials (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  vault_id TEXT NOT NULL REFERENCES vaults (id),
  display_name TEXT,
  metadata TEXT NOT NULL,
  -- JSON of what it is, without secrets.
  auth TEXT NOT NULL,
  -- What only one of a vault may be for, see domain/vault-credential.ts.
  slot TEXT NOT NULL,
  -- Grows whenever the secrets change.
  version INTEGER NOT NULL,
  -- JSON of the secrets, sealed for this row and this version; null: archived.
  sealed TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  archived_at TEXT
);
CREATE INDEX vault_credentials_by_vault ON vault_credentials (vault_id, ord);
CREATE UNIQUE INDEX vault_credentials_by_slot ON vault_credentials (vault_id, slot) WHERE archived_at IS NULL;

CREATE TABLE sandboxes (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  driver TEXT NOT NULL,
  -- Secret of this launch; the runner shows it in its hello.
  nonce TEXT NOT NULL,
  -- starting | ready | lost
  state TEXT NOT NULL,
  created_at TEXT NOT NULL,
  -- The environment for whose next session it is kept; null once it has one, or was made for one.
  warm_for TEXT,
  -- Up to when its time is in sandbox_time; null: it is not alive, or not a session's.
  counted_to TEXT
);

-- The sessions that live in one sandbox and under one lease. Most are alone: their group has their own id and no name.
CREATE TABLE session_groups (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  environment_id TEXT NOT NULL,
  name TEXT,
  -- JSON of what its sandboxes are made with, as the first of those that live there asked for it.
  sandbox TEXT NOT NULL,
  -- Counts up: no uid is given twice.
  next_uid INTEGER NOT NULL,
  -- Who acts for its sessions, until when, and the number of that right: it grows whenever the holder changes.
  lease_holder TEXT,
  lease_until TEXT,
  epoch INTEGER NOT NULL,
  UNIQUE (workspace_id, environment_id, name)
);

-- Sessions that are over, whose processes and files are still in a sandbox in which others live.
CREATE TABLE departures (
  sandbox_id TEXT NOT NULL REFERENCES sandboxes (id),
  session_id TEXT NOT NULL,
  uid INTEGER NOT NULL,
  subdir TEXT NOT NULL,
  PRIMARY KEY (sandbox_id, session_id)
);

-- How long sandboxes of a session were alive on a day (UTC). Outlives the session.
CREATE TABLE sandbox_time (
  workspace_id TEXT NOT NULL,
  day TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  session_id TEXT NOT NULL,
  ms INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, day, agent_id, session_id)
) WITHOUT ROWID;

CREATE TABLE sessions (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  environment_id TEXT NOT NULL REFERENCES environments (id),
  -- The environment's config as it stood when the session was made.
  environment TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  agent_version INTEGER NOT NULL,
  -- The effective agent, resolved.
  agent TEXT NOT NULL,
  title TEXT,
  metadata TEXT NOT NULL,
  -- idle | running | rescheduling | terminated
  status TEXT NOT NULL,
  -- JSON of the last idle's stop_reason; null before the first turn and while working.
  stop_reason TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  archived_at TEXT,
  -- The primary thread's id.
  thread_id TEXT NOT NULL,
  -- Highest sequence number given out in this session's log.
  last_seq INTEGER NOT NULL,
  -- The same for its raw SDK messages.
  last_sdk_seq INTEGER NOT NULL,
  -- UUID under which the CLI keeps the conversation, and whether a transcript of it exists.
  sdk_session_id TEXT NOT NULL,
  has_transcript INTEGER NOT NULL,
  sandbox_id TEXT REFERENCES sandboxes (id),
  -- What the session is called in its sandboxes, in paths and on the link: its id, or that of the warm sandbox in which it began.
  name_inside TEXT NOT NULL,
  -- JSON of the configuration that its runner was last given.
  opened TEXT,
  -- Link progress with the runner of sandbox_id: last frame committed from it, last frame number given to it.
  link_received INTEGER NOT NULL,
  link_sent INTEGER NOT NULL,
  -- JSON of what is under way in the present turn, see domain/turn/turn-state.ts.
  turn TEXT NOT NULL,
  -- JSON of the usage as last read from the gateway's ledger.
  usage TEXT NOT NULL,
  group_id TEXT NOT NULL REFERENCES session_groups (id),
  -- Name of the sandbox that it shares; null: it has one of its own.
  sandbox_name TEXT,
  -- JSON of the ids of its vaults; of several that have a credential for the same, the first counts.
  vault_ids TEXT NOT NULL,
  -- uid and gid in the sandbox.
  uid INTEGER NOT NULL,
  -- Its directories are below /workspace and the outputs, under this name; empty: they are these themselves.
  subdir TEXT NOT NULL,
  -- JSON of what the session may cost; null: there is no limit.
  budget TEXT,
  -- How often in a row the present turn was cut.
  failures INTEGER NOT NULL,
  -- What the runner has to be given of the transcript before the next input, see store/transcripts.ts.
  needs_restore INTEGER NOT NULL,
  active_ms INTEGER NOT NULL,
  active_since TEXT,
  -- Since when the session rests: its turn is over, or waits for the client. Null while it works.
  idle_since TEXT,
  -- 1: something may have changed in the sandbox since the last checkpoint.
  is_changed INTEGER NOT NULL,
  -- The sandbox in which the session's files are: its present one, unless that has yet to be given them.
  files_in TEXT
);
CREATE INDEX sessions_by_workspace ON sessions (workspace_id, ord);
CREATE INDEX sessions_by_status ON sessions (status);
CREATE INDEX sessions_by_sandbox ON sessions (sandbox_id);
CREATE INDEX sessions_by_group ON sessions (group_id);

CREATE TABLE events (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  seq INTEGER NOT NULL,
  id TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  body TEXT NOT NULL,
  processed_at TEXT,
  -- Sequence number at which the event took its place in the list: its own, or for a queued input that of its processing.
  place INTEGER,
  -- Of a session.status_idle: JSON of the bytes per transcript file that had been shipped.
  transcripts TEXT,
  PRIMARY KEY (session_id, seq)
);
CREATE INDEX events_by_place ON events (session_id, place);

-- Work for the actor, in the order of acceptance.
CREATE TABLE inputs (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  seq INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  -- UUID of the user line in the transcript.
  uuid TEXT NOT NULL,
  -- JSON of the content that goes to the agent in place of the event's: a turn that was cut goes on with it. Null: the event's own.
  continuation TEXT,
  -- 1: the user line stands in the shipped transcript; the agent has taken the input.
  is_taken INTEGER NOT NULL,
  -- queued | delivered | paused (its turn rests until the budget is raised) | done
  state TEXT NOT NULL,
  PRIMARY KEY (session_id, seq)
);

-- Commands for the runner that it has not acknowledged.
CREATE TABLE outbox (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  seq INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (session_id, seq)
);

-- The CLI's transcript files as far as runners have reported them, in parts of whole lines.
CREATE TABLE transcripts (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  path TEXT NOT NULL,
  -- In bytes.
  start INTEGER NOT NULL,
  length INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (session_id, path, start)
);

-- What was first seen of the tools of its remote MCP servers, see packages/protocol/src/seen-tools.ts.
CREATE TABLE seen_tools (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  -- The server's name on the link.
  server TEXT NOT NULL,
  -- Follows from its URL.
  place TEXT NOT NULL,
  -- JSON.
  tools TEXT NOT NULL,
  PRIMARY KEY (session_id, server, place)
) WITHOUT ROWID;

CREATE TABLE sdk_messages (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  seq INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (session_id, seq)
);

-- Blobs of compressed chunks, see blobs/chunk-packer.ts. They are of a workspace, not of a session: equal bytes are kept once.
CREATE TABLE packs (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  -- Size of the blob.
  bytes INTEGER NOT NULL,
  -- The save that has written it, until its checkpoint is committed; null from then on.
  save_id TEXT,
  -- 1: bytes of it are not what was stored. What it has is written again by whoever comes to have it.
  is_damaged INTEGER NOT NULL
);
CREATE INDEX packs_by_workspace ON packs (workspace_id, ord);
CREATE INDEX packs_by_save ON packs (save_id) WHERE save_id IS NOT NULL;
CREATE INDEX packs_by_damage ON packs (workspace_id) WHERE is_damaged = 1;

-- Where the bytes of a hash are. There may be several places; the newest pack that is committed and not damaged counts.
CREATE TABLE chunks (
  -- sha-256, hex.
  hash TEXT NOT NULL,
  pack INTEGER NOT NULL REFERENCES packs (ord),
  -- The frame in the pack, and the bytes in what it decompresses to.
  frame_start INTEGER NOT NULL,
  frame_length INTEGER NOT NULL,
  start INTEGER NOT NULL,
  length INTEGER NOT NULL,
  PRIMARY KEY (hash, pack)
) WITHOUT ROWID;
CREATE INDEX chunks_by_pack ON chunks (pack);

CREATE TABLE checkpoints (
  ord INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  session_id TEXT NOT NULL REFERENCES sessions (id),
  created_at TEXT NOT NULL,
  -- The session's last_seq that it stands for.
  seq INTEGER NOT NULL,
  -- What it was made for, see domain/checkpoint.ts.
  why TEXT NOT NULL,
  -- The conversation it belongs to, and JSON of the bytes per transcript file that had been shipped.
  sdk_session_id TEXT NOT NULL,
  transcripts TEXT NOT NULL,
  -- JSON of the roots, and of the hashes of the tree's segments in order (protocol/archive.ts).
  roots TEXT NOT NULL,
  segments TEXT NOT NULL,
  entries INTEGER NOT NULL,
  -- Of all files, and what this checkpoint added to the blobs.
  bytes INTEGER NOT NULL,
  stored_bytes INTEGER NOT NULL,
  -- JSON of the first files that could not be kept as they were, by root and path, and how many there were.
  refused TEXT NOT NULL,
  refused_count INTEGER NOT NULL,
  -- 1: not all of its bytes could be read.
  is_damaged INTEGER NOT NULL
);
CREATE INDEX checkpoints_by_session ON checkpoints (session_id, ord);
CREATE INDEX checkpoints_by_workspace ON checkpoints (workspace_id, ord);

-- POSTs that had an effect or an answer to repeat; see docs/reference/idempotency.md.
CREATE TABLE requests (
  -- A workspace and an Idempotency-Key; or, of requests without one, an API key and a path: then only the newest is here.
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  request_id TEXT NOT NULL UNIQUE,
  -- Of method, path and body, by a key that is not here: a body may hold a secret that can be guessed.
  fingerprint TEXT NOT NULL,
  created_at TEXT NOT NULL,
  -- The store operation that had the effect, and JSON of its result until the answer takes its place.
  operation TEXT,
  result TEXT,
  -- JSON of the answer as it was sent; null while none was.
  answer TEXT,
  PRIMARY KEY (scope, key)
);
CREATE INDEX requests_by_age ON requests (created_at);
