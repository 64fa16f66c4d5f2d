/** What `berth doctor --security` says something about beside what the sandbox driver has to say, in this order. */
export const installationNames = [
  'data directory',
  'secrets on disk',
  'listening',
  'ways out',
  'model address',
  'gateway memory',
] as const
export type InstallationName = (typeof installationNames)[number]
