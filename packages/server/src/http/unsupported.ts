/** Parts of the wire profile that have no routes here: a caller learns that the part is missing, not that the address is wrong. */

const parts: readonly (readonly [RegExp, string])[] = [
  [/^\/v1\/files(\/|$)/, 'files'],
  [/^\/v1\/skills(\/|$)/, 'skills'],
  [/^\/v1\/memory_stores(\/|$)/, 'memory stores'],
  [/^\/v1\/deployments(\/|$)/, 'deployments'],
  [/^\/v1\/deployment_runs(\/|$)/, 'deployments'],
  [/^\/v1\/sessions\/[^/]+\/resources(\/|$)/, 'session resources'],
  [/^\/v1\/sessions\/[^/]+\/threads(\/|$)/, 'threads'],
  [/^\/v1\/environments\/[^/]+\/work(\/|$)/, 'self-hosted environments'],
]

/** What the path would need; undefined: it is no path of the profile. */
export function missingPart(path: string): string | undefined {
  return parts.find(([pattern]) => pattern.test(path))?.[1]
}
