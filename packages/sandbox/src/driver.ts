/**
 * The contract between Berth and whatever makes sandboxes. A sandbox is one isolated machine in which the runner runs; a driver makes
 * it, finds it again and ends it, and nothing more: exec, files, ports and archives go over the link, the same on every driver.
 *
 * Who drives a sandbox acts under an epoch, which grows whenever the right to act passes to another server. A driver remembers with each
 * sandbox the highest epoch it was called under, for as long as the sandbox is there and whoever opens the driver next, and refuses a
 * lower one with `conflict`, changing nothing. Calls that overlap in time have no order.
 *
 * A driver belongs in a folder of its own and sees nothing of the server. `conformance/` holds every driver to these sentences.
 */

export interface SandboxDriver extends AsyncDisposable {
  readonly name: string
  readonly capabilities: Readonly<Record<Capability, boolean>>

  /** Examines the machine. Never changes it, never throws for something it can say as a finding. */
  check(signal?: AbortSignal): Promise<Finding[]>

  /**
   * Makes the sandbox `spec.id` and launches the runner in it. Resolves when the runner's process was started; that it works is seen
   * on the link. Idempotent on `spec.id`: a second call for a living sandbox answers the same ref and changes nothing but its epoch.
   * Nothing is left when it throws: `invalid_request` for a spec it cannot honour, `unavailable` when the machine lacks something,
   * `conflict` for the id of a sandbox that has ended and waits for `restart` or `destroy`.
   */
  create(spec: SandboxSpec, signal?: AbortSignal): Promise<SandboxRef>

  /**
   * Starts a sandbox that is `gone` anew on the disk that it left: same id, labels, uid range and disk, everything in `/workspace`, home and
   * outputs as it was, `/tmp` empty, no process of before. `spec` is the one of its `create`, but for `env`, `until` and `epoch`, which are new.
   * Resolves as `create` does. `conflict` while it runs or is being restarted, `not_found` when nothing of it is left, `unavailable` when
   * its disk cannot be used. When it throws, the sandbox is `gone` as before and may be restarted again or destroyed. Capability `restart`.
   */
  restart(spec: SandboxSpec, signal?: AbortSignal): Promise<SandboxRef>

  /** The sandbox as it is now; undefined only when it is surely gone. */
  get(id: string): Promise<SandboxRef | undefined>

  /**
   * Lets it live until then, at most; a sandbox whose time has run out ends by itself, whether or not anybody drives it.
   * `not_found` when it is not running (any more).
   */
  renew(id: string, until: Date, epoch: number): Promise<void>

  /**
   * Ends the whole process tree (within 5 s) and removes everything of it, its epoch included. Destroying what does not exist succeeds.
   * Without an epoch for a sandbox that belongs to nobody.
   */
  destroy(id: string, epoch?: number): Promise<void>

  /** Every sandbox of this driver and state directory whose labels include these, dead ones not yet cleaned up included. Capability `list`. */
  list(labels?: Readonly<Record<string, string>>): Promise<SandboxRef[]>
}

/** What a driver may offer beyond the required methods. An undeclared one is answered with the code `unsupported`. */
export type Capability =
  | 'list'
  | 'diskQuota'
  | 'restart'
  | 'suspend'
  | 'snapshot'
  | 'endpoint'
  | 'exec'
  | 'setNetworkPolicy'

export interface SandboxSpec {
  /** Ours, `sbx_…`, at most 32 characters of `[a-z0-9_]`. Names directories and cgroups: says nothing about tenants. */
  readonly id: string
  /** From 1. */
  readonly epoch: number
  readonly labels: Readonly<Record<string, string>>
  readonly limits: SandboxLimits
  /** How long it lives without `renew`. */
  readonly until: Date
  /** Environment of the runner. No secrets but the link's nonce. */
  readonly env: Readonly<Record<string, string>>
  /** A prepared root file system (a directory on the host), or null for the host's `/usr` on a skeleton. */
  readonly image: string | null
  /** Certificates (PEM) of authorities that programs in it trust beside those of the machine: they stand with them at `inside.authorities`. */
  readonly authorities?: readonly string[]
}

export interface SandboxLimits {
  /** CPUs, may be a fraction. */
  readonly cpus: number
  readonly memoryBytes: number
  /** `/workspace`, home and everything else that lasts in the sandbox. `/tmp` counts against memory. */
  readonly diskBytes: number
  readonly pids: number
  /** Open files per process. Clamped to the host's hard limit. */
  readonly files: number
}

export interface SandboxRef {
  readonly id: string
  readonly labels: Readonly<Record<string, string>>
  /** `gone`: its processes have ended, what it leaves waits for `restart` or `destroy`. */
  readonly state: 'running' | 'gone'
  /**
   * Host directory that the sandbox sees read-only as `/run/berth`. The server puts `link/link.sock` there, the gateway the model
   * sockets `gw/<uid>/model.sock`. Undefined where the driver's sandboxes are not on this machine.
   */
  readonly runDir: string | undefined
  /** Host uid of the sandbox's uid 0; uid n inside is `uidBase + n` on the host. Undefined as above. */
  readonly uidBase: number | undefined
}

/** One line of `berth doctor`. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'fail'
  /** A fixed phrase, e.g. `cgroup memory limit`. */
  readonly what: string
  /** What was found, precisely. */
  readonly detail: string
  /** What to do about it: a command where there is one. */
  readonly remedy?: string
}

/** Where things stand inside every sandbox, whatever the driver. */
export const inside = {
  run: '/run/berth',
  link: '/run/berth/link/link.sock',
  node: '/opt/berth/node',
  claude: '/opt/berth/claude',
  runner: '/opt/berth/runner.mjs',
  /** The program that the runner starts for a session's files. Beside the runner's. */
  archiver: '/opt/berth/archiver.mjs',
  workspace: '/workspace',
  /** Where most programs look for the authorities of TLS; the runner names it to the others. */
  authorities: '/etc/ssl/certs/ca-certificates.crt',
  home: '/home',
  outputs: '/mnt/session/outputs',
  /** uid and gid of a sandbox's first session; further sessions take the next ones. */
  firstUid: 1000,
} as const
