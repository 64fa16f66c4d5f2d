import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Finding } from '../../driver.ts'
import { ok, warn } from '../../finding.ts'
import type { ReadKernelFile } from './host.ts'
import type { HostName } from './names.ts'

const WHAT: HostName = 'kernel'
const DAY_MS = 86_400_000
const OLD_DAYS = 120

/**
 * Which kernel, how old it is, and whether a newer one waits for a restart. No list of the kernel's own flaws: only its distribution knows
 * what it has mended, so the most that is said is that nothing speaks against it.
 */
export async function kernelFinding(root: string, read: ReadKernelFile, now: number): Promise<Finding> {
  const [release, version] = await Promise.all([read('proc/sys/kernel/osrelease'), read('proc/sys/kernel/version')])
  if (release === undefined) return warn(WHAT, 'its version cannot be read', 'mount /proc')
  const waiting = await newerKernel(root, release)
  if (waiting !== undefined) return warn(WHAT, `${release}, and ${waiting} is installed`, 'restart the machine')
  const built = buildDate(version ?? '')
  if (built === undefined) {
    return warn(
      WHAT,
      `${release}: of what date it is cannot be told, nor what it has mended`,
      'ask whoever made this kernel for its fixes',
    )
  }
  const days = Math.floor((now - built) / DAY_MS)
  const detail = `${release} of ${new Date(built).toISOString().slice(0, 10)}`
  if (days > OLD_DAYS)
    return warn(
      WHAT,
      `${detail}, ${days} days old: it lacks every fix since`,
      'install your distribution’s newest kernel and restart',
    )
  return ok(WHAT, `${detail}; what it has mended is for your distribution to say`)
}

/** `… (2026-01-31)` of Debian, or a date as `date` writes it. */
function buildDate(version: string): number | undefined {
  const day = /\((\d{4}-\d{2}-\d{2})\)/.exec(version)?.[1]
  const words = /(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\w{3}) +(\d+) [\d:]+ \w+ (\d{4})/.exec(version)
  const time = Date.parse(day ?? (words === null ? '' : `${words[2]} ${words[1]} ${words[3]} UTC`))
  return Number.isNaN(time) ? undefined : time
}

async function newerKernel(root: string, running: string): Promise<string | undefined> {
  const names = await readdir(join(root, 'boot')).catch(() => [])
  const flavour = /[a-z][a-z0-9]*$/.exec(running)?.[0]
  const installed = names.flatMap((name) => /^vmlinuz-(.+)$/.exec(name)?.[1] ?? [])
  const alike = installed.filter((release) => /[a-z][a-z0-9]*$/.exec(release)?.[0] === flavour)
  return alike.find((release) => compareNumbers(release, running) > 0)
}

function compareNumbers(left: string, right: string): number {
  const [one, two] = [left, right].map((text) => (text.match(/\d+/g) ?? []).map(Number))
  for (let index = 0; index < Math.max(one?.length ?? 0, two?.length ?? 0); index++) {
    const difference = (one?.[index] ?? 0) - (two?.[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
