import { dirname, join } from 'node:path'

/** The archive helper's program: it stands beside the runner's. */
export function archiverBeside(runner: string): string {
  return join(dirname(runner), 'archiver.mjs')
}
