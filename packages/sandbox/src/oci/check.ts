import type { Finding } from '../driver.ts'
import type { Settings } from './options.ts'

export async function checkMachine(_settings: Settings, _stateDir: string, _signal?: AbortSignal): Promise<Finding[]> {
  return []
}
