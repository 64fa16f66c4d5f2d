/** What is publicly known to be wrong with runtimes, and from which version on it is mended. */
export interface Advisory {
  readonly id: string
  /** What an attacker needs to have in hand. */
  readonly needs: string
  /** One version for each line of releases that has the fix; later lines have it, earlier ones have not. */
  readonly fixed: readonly string[]
}

export const advisories: Readonly<Record<string, readonly Advisory[]>> = {
  crun: [
    { id: 'CVE-2026-30892', needs: 'exec -u, which Berth does not use', fixed: ['1.27'] },
    { id: 'CVE-2026-47766', needs: 'a root file system of the attacker', fixed: ['1.28'] },
    { id: 'CVE-2026-88264', needs: 'a root file system of the attacker', fixed: ['1.30'] },
    { id: 'CVE-2026-88265', needs: 'a root file system of the attacker', fixed: ['1.30'] },
  ],
  runc: [
    { id: 'CVE-2024-21626', needs: 'a working directory of the attacker', fixed: ['1.1.12'] },
    { id: 'CVE-2025-31133', needs: 'a root file system of the attacker', fixed: ['1.2.8', '1.3.3', '1.4.0'] },
    { id: 'CVE-2025-52565', needs: 'a root file system of the attacker', fixed: ['1.2.8', '1.3.3', '1.4.0'] },
    { id: 'CVE-2025-52881', needs: 'a root file system of the attacker', fixed: ['1.2.8', '1.3.3', '1.4.0'] },
    { id: 'CVE-2026-41579', needs: 'a root file system of the attacker', fixed: ['1.3.6', '1.4.3', '1.5.0'] },
  ],
}

/** Those that this version is not known to have mended. A version that cannot be read has mended nothing. */
export function openAdvisories(known: readonly Advisory[], version: string): Advisory[] {
  return known.filter(({ fixed }) => !hasFix(version, fixed))
}

function hasFix(version: string, fixed: readonly string[]): boolean {
  const at = parse(version)
  if (at === undefined) return false
  const since = fixed.map(parse).filter((one) => one !== undefined)
  const own = since.find(({ major, minor }) => major === at.major && minor === at.minor)
  if (own !== undefined) return at.patch > own.patch || (at.patch === own.patch && !at.early)
  return since.every(({ major, minor }) => at.major > major || (at.major === major && at.minor > minor))
}

/** `early`: a release candidate or the like, which comes before the version that it names. */
function parse(version: string): { major: number; minor: number; patch: number; early: boolean } | undefined {
  const [, major, minor, patch, rest] = /^(\d+)\.(\d+)(?:\.(\d+))?(.*)$/.exec(version) ?? []
  if (major === undefined || minor === undefined) return undefined
  const early = /^[-~](?:rc|alpha|beta)/.test(rest ?? '')
  return { major: Number(major), minor: Number(minor), patch: Number(patch ?? 0), early }
}
