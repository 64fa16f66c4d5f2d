/**
 * The link's numbers and names, apart from its schemas: a runner says `hello` before it has loaded a validator, which takes longer than
 * everything else it does until then.
 */

/** A runner and a server understand each other only when this number is the same on both sides. */
export const LINK_PROTOCOL = 1

/**
 * WebSocket close codes of the link. The runner dials again after `going_away`, `replaced` and `stale_epoch` (the server that closed has lost
 * its lease, and the one that has it will answer); the others are final.
 */
export const linkClose = {
  going_away: 1001,
  protocol_mismatch: 4001,
  bad_hello: 4002,
  unknown_sandbox: 4003,
  stale_epoch: 4004,
  replaced: 4005,
} as const

/** Heartbeat: each side pings after this long without a message and gives the connection up after three times as long. */
export const HEARTBEAT_MS = 5_000

/** Environment variables by which a runner is told who it is. Set by the driver from `SandboxSpec`. */
export const runnerEnv = {
  sandboxId: 'BERTH_SANDBOX_ID',
  /** `unix:/path` or `ws(s)://…` */
  link: 'BERTH_LINK',
  nonce: 'BERTH_NONCE',
  claude: 'BERTH_CLAUDE',
} as const
