import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isBerthError } from '@berth/protocol'
import { type Finding, openOciDriver } from '@berth/sandbox'
import { hostPrograms, sandboxStateDir } from './programs.ts'

/** What the sandbox driver says about this machine. A data directory that is not there yet is not made. */
export async function driverFindings(dataDir: string, signal?: AbortSignal): Promise<Finding[]> {
  if (existsSync(dataDir)) return check(sandboxStateDir(dataDir), signal)
  const passing = await mkdtemp(join(tmpdir(), 'berth-'))
  try {
    return await check(passing, signal)
  } finally {
    await rm(passing, { recursive: true, force: true })
  }
}

async function check(stateDir: string, signal: AbortSignal | undefined): Promise<Finding[]> {
  try {
    await using driver = await openOciDriver({ stateDir, ...hostPrograms() })
    return await driver.check(signal)
  } catch (error) {
    if (!isBerthError(error)) throw error
    return [{ level: 'fail', what: 'sandbox driver', detail: error.message }]
  }
}
