import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import type { Finding } from '@berth/sandbox'
import type { StartConfig } from './start.ts'

/** What is to be said about this machine beside what the sandbox driver says. Leaves the machine as it was. */
export async function examine(config: StartConfig): Promise<Finding[]> {
  return [nodeVersion(process.versions.node), await dataDir(config.dataDir), await port(config)]
}

export function nodeVersion(version: string): Finding {
  const what = 'node version'
  if (Number(version.split('.')[0]) >= 24) return { level: 'ok', what, detail: version }
  return { level: 'fail', what, detail: `${version}, needs 24 or newer`, remedy: 'script/setup' }
}

/** Writable: a directory can be made in it, or in the nearest directory above that exists. */
export async function dataDir(path: string): Promise<Finding> {
  const what = 'data directory'
  let existing = path
  while (!existsSync(existing) && existing !== dirname(existing)) existing = dirname(existing)
  try {
    await rm(await mkdtemp(join(existing, '.berth-doctor-')), { recursive: true })
  } catch (error) {
    const detail = `${path} cannot be written: ${error instanceof Error ? error.message : String(error)}`
    return { level: 'fail', what, detail, remedy: 'name another with --data-dir or BERTH_DATA_DIR' }
  }
  return { level: 'ok', what, detail: existing === path ? path : `${path} (made when needed)` }
}

/** Free, or taken by a Berth, or taken by something else. */
export async function port({ host, port: number }: Pick<StartConfig, 'host' | 'port'>): Promise<Finding> {
  const what = 'port'
  const address = `${host}:${number}`
  const trouble = await tryListen(host, number)
  if (trouble === undefined) return { level: 'ok', what, detail: `${address} is free` }
  if (trouble === 'EADDRINUSE' && (await isBerth(host, number))) {
    return { level: 'ok', what, detail: `${address} is taken by a running Berth` }
  }
  const detail =
    trouble === 'EADDRINUSE' ? `${address} is taken by another program` : `${address} cannot be listened on: ${trouble}`
  return { level: 'fail', what, detail, remedy: 'choose another with --listen or BERTH_LISTEN' }
}

function tryListen(host: string, number: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port: number, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

/** A Berth answers requests without a key with its own kind of error. */
async function isBerth(host: string, number: number): Promise<boolean> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${number}/v1/sessions`
  const answer = await fetch(url, { signal: AbortSignal.timeout(2_000), redirect: 'manual' }).catch(() => undefined)
  await answer?.body?.cancel()
  return answer?.status === 401 && answer.headers.get('request-id')?.startsWith('req_') === true
}
