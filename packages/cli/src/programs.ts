import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import type { OciOptions } from '@berth/sandbox'

const packages = resolve(import.meta.dirname, '../..')

/** Host paths of what stands inside every sandbox. They need not exist: `doctor` says so when they do not. */
export interface HostPrograms {
  readonly node: string
  readonly claude: string
  readonly runner: string
  readonly archiver: string
}

export function hostPrograms(): HostPrograms {
  return {
    node: nodeOf(packages),
    claude: claudeOf(packages),
    runner: join(packages, 'runner/dist/runner.mjs'),
    archiver: join(packages, 'runner/dist/archiver.mjs'),
  }
}

/** The Node that came as a dependency, else the one that runs this: both are new enough. */
function nodeOf(from: string): string {
  const bundled = join(from, `../node_modules/node-linux-${process.arch}/bin/node`)
  return existsSync(bundled) ? bundled : process.execPath
}

/** The CLI's own binary, from the platform package of the pinned Agent SDK. */
function claudeOf(from: string): string {
  const name = `@anthropic-ai/claude-agent-sdk-linux-${process.arch}`
  try {
    return createRequire(join(from, 'runner/package.json')).resolve(`${name}/claude`)
  } catch {
    return join(from, '../node_modules', name, 'claude')
  }
}

/** The sandbox driver of an installation: everything that it keeps is below the data directory. */
export function ociOptions({ dataDir, ociRuntime }: { dataDir: string; ociRuntime?: string | undefined }): OciOptions {
  const runtime = ociRuntime === undefined ? {} : { runtime: ociRuntime }
  return { stateDir: join(dataDir, 'sbx'), ...hostPrograms(), ...runtime }
}
