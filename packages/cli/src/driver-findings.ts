import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isBerthError } from '@berth/protocol'
import { type Finding, openOciDriver } from '@berth/sandbox'
import { ociOptions } from './programs.ts'
import type { StartConfig } from './start.ts'

/** What the sandbox driver says about this machine. A data directory that is not there yet is not made. */
export async function driverFindings(config: Pick<StartConfig, 'dataDir' | 'ociRuntime'>): Promise<Finding[]> {
  if (existsSync(config.dataDir)) return check(config)
  const dataDir = await mkdtemp(join(tmpdir(), 'berth-'))
  try {
    return await check({ ...config, dataDir })
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}

async function check(config: Pick<StartConfig, 'dataDir' | 'ociRuntime'>): Promise<Finding[]> {
  try {
    await using driver = await openOciDriver(ociOptions(config))
    return await driver.check()
  } catch (error) {
    if (!isBerthError(error)) throw error
    return [{ level: 'fail', what: 'sandbox driver', detail: error.message }]
  }
}
