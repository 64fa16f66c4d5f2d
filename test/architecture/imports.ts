import { posix } from 'node:path'
import { type File, withoutComments } from './tree.ts'

const patterns = [
  /^(?:import|export)\s[^'"`;]*?\sfrom\s+['"]([^'"]+)['"]/gm,
  /^import\s+['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"]([^'"]+)['"]/g,
  /\bimport\.meta\.resolve\(\s*['"]([^'"]+)['"]/g,
  /\brequire(?:\.resolve)?\(\s*['"]([^'"]+)['"]/g,
  /\bnew URL\(\s*['"](\.[^'"]+\.ts)['"]/g,
]

/** What a file imports, as written. The layout that oxfmt gives is relied upon. */
export function importsOf(text: string): string[] {
  return inCode(withoutComments(text))
}

/** The same without `import type` and `export type`, of which nothing is left when the program runs. */
export function runtimeImportsOf(text: string): string[] {
  return inCode(withoutComments(text).replaceAll(/^(?:import|export) type\s[^'"`;]*?\sfrom\s+['"][^'"]+['"]/gm, ''))
}

function inCode(code: string): string[] {
  const found = patterns.flatMap((pattern) => [...code.matchAll(pattern)].map(([, specifier]) => specifier))
  return [...new Set(found.filter((specifier) => specifier !== undefined))]
}

export type Target =
  | { kind: 'file'; path: string }
  | { kind: 'ours'; name: string; path: string }
  | { kind: 'npm'; name: string }
  | { kind: 'builtin' }

/** Where an import leads. */
export function resolveImport(from: File, specifier: string): Target {
  if (specifier.startsWith('.')) return { kind: 'file', path: posix.join(posix.dirname(from.path), specifier) }
  if (specifier.startsWith('node:')) return { kind: 'builtin' }
  const parts = specifier.split('/')
  const name = parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
  if (!name.startsWith('@berth/')) return { kind: 'npm', name }
  const own = name.slice('@berth/'.length)
  const below = parts.slice(2).join('/')
  return { kind: 'ours', name: own, path: `packages/${own}/src/${below === '' ? 'index' : below}.ts` }
}

/**
 * Cycles of files that need one another at run time, each named once, from its first file in the alphabet. A contract may name the
 * types of what implements it.
 */
export function cyclesOf(files: readonly File[]): string[] {
  const edges = new Map(files.map((file) => [file.path, targetsOf(file)]))
  const found = new Set<string>()
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at >= 0) return void found.add(turned(trail.slice(at)).join(' → '))
    if (done.has(path)) return
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) visit(path, [])
  return [...found]
}

function targetsOf(file: File): string[] {
  return runtimeImportsOf(file.text).flatMap((specifier) => {
    const target = resolveImport(file, specifier)
    return 'path' in target ? [target.path] : []
  })
}

function turned(cycle: readonly string[]): string[] {
  const first = cycle.indexOf(cycle.toSorted()[0] ?? '')
  return [...cycle.slice(first), ...cycle.slice(0, first)]
}
