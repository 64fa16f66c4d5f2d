import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { Finding } from '../../driver.ts'
import { fail, ok, warn } from '../../finding.ts'
import { missingRuntime } from '../machine.ts'
import type { OciRuntime } from '../runtime.ts'
import { advisories, openAdvisories } from './advisories.ts'
import type { Advisory } from './advisories.ts'
import type { HostName } from './names.ts'

const WHAT: HostName = 'runtime version'

/**
 * What is known of this runtime. A version says what its makers have mended; what a distribution has mended in an older one is believed
 * where the changelog of the installed package names it.
 */
export async function runtimeFinding(runtime: OciRuntime | undefined, wanted: string, root = '/'): Promise<Finding> {
  if (runtime === undefined) return fail(WHAT, missingRuntime(wanted), 'apt-get install -y crun')
  const { name, version, path } = runtime
  const named = `${name} ${version} (${path})`
  const known = advisories[name]
  if (known === undefined) {
    return warn(WHAT, `${named}: Berth knows no advisories of this runtime`, `read the advisories of ${name} yourself`)
  }
  const open = openAdvisories(known, version)
  if (open.length === 0) return ok(WHAT, `${named} has the fixes of all ${known.length} advisories that Berth knows`)
  const mended = await mendedByPackage(path, root)
  const left = open.filter(({ id }) => !mended.has(id))
  const backported = open.filter(({ id }) => mended.has(id)).map(({ id }) => id)
  const also = backported.length === 0 ? '' : `; its package says that it mends ${backported.join(', ')}`
  if (left.length === 0) return ok(WHAT, `${named}${also}`)
  const floor = [...new Set(known.flatMap(({ fixed }) => fixed.at(-1) ?? []))].at(-1)
  return warn(
    WHAT,
    `${named} is not known to mend ${listOf(left)}${also}`,
    `install ${name} ${floor} or later and name it with BERTH_OCI_RUNTIME; give environments no image that you have not made`,
  )
}

function listOf(open: readonly Advisory[]): string {
  const needs = [...new Set(open.map((one) => one.needs))]
  const groups = needs.map((need) => {
    const ids = open.filter((one) => one.needs === need).map(({ id }) => id)
    return `${ids.join(', ')} (to be used with ${need})`
  })
  return groups.join(' and ')
}

/** Ids that the changelog of the Debian package names which put this file there; none where there is no such package. */
async function mendedByPackage(path: string, root: string): Promise<Set<string>> {
  const name = basename(path)
  try {
    const files = await readFile(join(root, `var/lib/dpkg/info/${name}.list`), 'utf8')
    if (!files.split('\n').includes(path)) return new Set()
    const packed = await readFile(join(root, `usr/share/doc/${name}/changelog.Debian.gz`))
    return new Set((await promisify(gunzip)(packed)).toString().match(/CVE-\d{4}-\d{4,}/g) ?? [])
  } catch {
    return new Set()
  }
}
