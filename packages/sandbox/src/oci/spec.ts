import { lstat, realpath } from 'node:fs/promises'
import { BerthError } from '@berth/protocol'
import { z } from 'zod'
import type { SandboxSpec } from '../driver.ts'

const MIB = 1024 * 1024
const ID = /^[a-z0-9_]{1,32}$/

/** Ids become names of directories and cgroups: one that is none names no sandbox. */
export function isSandboxId(id: string): boolean {
  return ID.test(id)
}

const sandboxSpec = z.object({
  id: z.string().regex(ID, 'must be at most 32 characters of a-z, 0-9 and _'),
  epoch: z.int().min(1),
  labels: z.record(z.string(), z.string()),
  limits: z.object({
    cpus: z.number().min(0.01).max(1024),
    memoryBytes: z.int().min(32 * MIB),
    diskBytes: z.int().min(16 * MIB),
    pids: z.int().min(8),
    files: z.int().min(64),
  }),
  until: z.date(),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a variable name'), z.string().regex(/^[^\0]*$/)),
  image: z.string().nullable(),
  authorities: z.array(z.string().regex(/^-----BEGIN CERTIFICATE-----\n/, 'must be certificates in PEM')).optional(),
})

/** Throws `invalid_request` naming the field. */
export async function assertSpec(spec: SandboxSpec): Promise<void> {
  const parsed = sandboxSpec.safeParse(spec)
  const issue = parsed.error?.issues[0]
  if (issue) throw new BerthError('invalid_request', `sandbox ${issue.path.join('.')}: ${issue.message}`)
  if (spec.image !== null) await assertImage(spec.image)
}

/** An image is used as it is by root: it must be a directory that nobody else can change, named without detours. */
async function assertImage(image: string): Promise<void> {
  const refuse = (why: string): never => {
    throw new BerthError('invalid_request', `image ${image}: ${why}`)
  }
  if (!/^\/[^:,\\\n]*$/.test(image)) refuse('must be an absolute path without : , \\ or line breaks')
  const at = await lstat(image).catch(() => undefined)
  if (at === undefined || !at.isDirectory()) return refuse('is not a directory')
  if ((await realpath(image)) !== image) refuse('must not lead through symbolic links')
  if (at.uid !== 0 || (at.mode & 0o022) !== 0) refuse('must be owned by root and writable by nobody else')
}
