import type { ArchiveReply } from '@berth/protocol/archive'

export type FailureCode = (ArchiveReply & { type: 'failed' })['code']

const MAX_MESSAGE = 4_000

/** Why a job cannot be done, as the server is told. */
export class ArchiveFailure extends Error {
  readonly code: FailureCode

  constructor(code: FailureCode, message: string) {
    super(message.slice(0, MAX_MESSAGE))
    this.code = code
  }
}

const codes: Readonly<Record<string, FailureCode>> = {
  ENOENT: 'not_found',
  ENOTDIR: 'not_found',
  EISDIR: 'not_file',
  ELOOP: 'not_file',
  ENXIO: 'not_file',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  ENOSPC: 'full',
  EDQUOT: 'full',
  EFBIG: 'full',
}

/** The other side has gone: nobody is left to be told anything. */
export class Abandoned extends Error {}

/** What the system said about a path. Throws what is nobody's failure. */
export function failureOf(error: unknown, path: string): ArchiveFailure {
  if (error instanceof Abandoned) throw error
  if (error instanceof ArchiveFailure) return error
  const code = errno(error)
  return new ArchiveFailure(codes[code] ?? 'io', `${path}: ${code === '' ? String(error) : code}`)
}

/** The system's name of an error; empty for an error that is none of the system's. */
export function errno(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}
