/** What `berth doctor --security` says something about, in this order. The guide to security has a line for each. */
export const hostNames = [
  'runtime version',
  'kernel',
  'processor flaws',
  'simultaneous threads',
  'page merging',
  'swap',
  'core dumps',
  'security modules',
  'ptrace',
  'user namespaces',
  'unprivileged bpf',
] as const
export type HostName = (typeof hostNames)[number]

/** The same, of a sandbox that is started for it. */
export const sandboxNames = [
  'sandbox users',
  'sandbox rights',
  'sandbox system calls',
  'sandbox namespaces',
  'sandbox network',
  'sandbox mounts',
  'sandbox limits',
] as const
export type SandboxName = (typeof sandboxNames)[number]
