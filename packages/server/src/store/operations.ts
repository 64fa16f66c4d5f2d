/** Every store operation by name. A file of queries adds itself here; nothing else registers anything. */
import { acceptEvents } from './accept-events.ts'
import * as agents from './agents.ts'
import { archiveSession, deleteSession, updateSession } from './change-session.ts'
import * as checkpoints from './checkpoints.ts'
import * as chunks from './chunks.ts'
import { commitCheckpoint, getCheckpointPlace } from './commit-checkpoint.ts'
import { commitReports } from './commit-reports.ts'
import { createSession } from './create-session.ts'
import { endDeparture, listDepartures } from './departures.ts'
import { deliverInput } from './deliver-input.ts'
import * as environments from './environments.ts'
import * as events from './events.ts'
import { noteFilesChanged, noteFilesRestored, noteFilesSaved, releaseSandbox } from './files-state.ts'
import { forkSession } from './fork-session.ts'
import * as keys from './keys.ts'
import * as leases from './leases.ts'
import { limitTurn } from './limit-turn.ts'
import { loseSandbox } from './lose-sandbox.ts'
import { markCheckpointDamaged } from './mark-damaged.ts'
import * as meta from './meta.ts'
import { parkSession } from './park-session.ts'
import { listPausedSessions, resumeSession } from './pause-turn.ts'
import * as requests from './requests.ts'
import { noteSandboxTime, listSandboxTime } from './sandbox-time.ts'
import * as sandboxes from './sandboxes.ts'
import * as sessions from './sessions.ts'
import { tellResting } from './tell-resting.ts'
import * as vaultCredentials from './vault-credentials.ts'
import { bindVaultKey } from './vault-key.ts'
import * as vaults from './vaults.ts'
import * as warmSandboxes from './warm-sandboxes.ts'
import * as workspaces from './workspaces.ts'

export const operations = {
  ...agents,
  ...checkpoints,
  ...chunks,
  ...environments,
  ...events,
  ...keys,
  ...leases,
  ...meta,
  ...requests,
  ...sandboxes,
  ...sessions,
  ...vaultCredentials,
  ...vaults,
  ...warmSandboxes,
  ...workspaces,
  acceptEvents,
  archiveSession,
  bindVaultKey,
  commitCheckpoint,
  commitReports,
  noteSandboxTime,
  createSession,
  deleteSession,
  deliverInput,
  endDeparture,
  forkSession,
  getCheckpointPlace,
  limitTurn,
  listDepartures,
  listPausedSessions,
  listSandboxTime,
  loseSandbox,
  markCheckpointDamaged,
  noteFilesChanged,
  noteFilesRestored,
  noteFilesSaved,
  releaseSandbox,
  resumeSession,
  tellResting,
  parkSession,
  updateSession,
}
export type Operations = typeof operations
