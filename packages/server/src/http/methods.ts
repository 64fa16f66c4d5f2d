/** For a path that exists: which methods it has, so that another one is told apart from another path. */
import type { App } from './context.ts'

interface Known {
  readonly pattern: RegExp
  readonly methods: Set<string>
}

/** Of the routes added so far. Answers undefined for a path that none of them has. */
export function methodsByPath(app: App): (path: string) => string[] | undefined {
  const known = new Map<string, Known>()
  for (const { method, path } of app.routes) {
    if (method === 'ALL') continue
    const entry = known.get(path) ?? { pattern: toPattern(path), methods: new Set(['OPTIONS']) }
    entry.methods.add(method)
    if (method === 'GET') entry.methods.add('HEAD')
    known.set(path, entry)
  }
  const entries = [...known.values()]
  return (path) => {
    const found = entries.filter(({ pattern }) => pattern.test(path))
    return found.length === 0 ? undefined : [...new Set(found.flatMap(({ methods }) => [...methods]))].sort()
  }
}

function toPattern(path: string): RegExp {
  const parts = path.split('/').map((part) => (part.startsWith(':') ? '[^/]+' : part.replaceAll('.', String.raw`\.`)))
  return new RegExp(`^${parts.join('/')}$`)
}
