import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { archiverBeside } from '../archiver-file.ts'
import { buildRunner } from '../build.ts'

/** Builds the runner for the tests of a file; answers where. */
export function bundleForTests(): string {
  const dir = mkdtempSync(join(tmpdir(), 'br-'))
  // The programs are read by other uids.
  chmodSync(dir, 0o755)
  const outfile = join(dir, 'runner.mjs')
  beforeAll(() => buildRunner(outfile))
  afterAll(() => rmSync(dir, { recursive: true }))
  return outfile
}

/** The archive helper's program, built for the tests of a file. */
export function archiverForTests(): string {
  return archiverBeside(bundleForTests())
}
