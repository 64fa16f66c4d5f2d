import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { buildRunner } from '../build.ts'

/** Builds the runner for the tests of a file; answers where. */
export function bundleForTests(): string {
  const dir = mkdtempSync(join(tmpdir(), 'br-'))
  const outfile = join(dir, 'runner.mjs')
  beforeAll(() => buildRunner(outfile))
  afterAll(() => rmSync(dir, { recursive: true }))
  return outfile
}
