/** By which names MCP servers are known to the model: `mcp__{name}__{tool}`. */
import { createHash } from 'node:crypto'

/** Leaves room for the tool's own name in the 128 characters that the model's API allows for the whole. */
const MAX_LENGTH = 32
const MAX_SLUG = 20
/** `__` ends the name, so it is not in it and nothing at its ends becomes part of it. */
const clean = /^[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*$/
/** The server of the client's own tools, and names that the CLI treats in ways of its own. */
const taken = /^(?:custom|ide|computer-use|workspace|claude.*|anthropic.*)$/i

/**
 * By profile name, in the order given. No two are the same, and none is the beginning of another's tools. A name that can be used stays as
 * it is; any other becomes a like one with a suffix that follows from it, so that it does not change with the servers beside it.
 */
export function linkNames(names: readonly string[]): ReadonlyMap<string, string> {
  const usable = names.filter(isUsable)
  const used = new Set(usable)
  const found = new Map(usable.map((name) => [name, name]))
  for (const name of names) {
    if (found.has(name)) continue
    const linkName = withSuffix(name, used)
    used.add(linkName)
    found.set(name, linkName)
  }
  return found
}

function isUsable(name: string): boolean {
  return name.length <= MAX_LENGTH && clean.test(name) && !taken.test(name)
}

function withSuffix(name: string, used: ReadonlySet<string>): string {
  const words = name.split(/[^A-Za-z0-9-]+/).filter((word) => word !== '')
  const start = taken.test(words[0] ?? '') ? ['mcp', ...words] : words
  const slug = start.join('_').slice(0, MAX_SLUG).replace(/_$/, '') || 'mcp'
  // A usable name may look like one of ours.
  for (let salt = 0; ; salt++) {
    const candidate = `${slug}_${createHash('sha256').update(`${salt} ${name}`).digest('hex').slice(0, 8)}`
    if (!used.has(candidate)) return candidate
  }
}
