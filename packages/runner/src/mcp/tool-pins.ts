import { MAX_SEEN_TOOLS, MAX_TOOLS, type SeenTool } from '@berth/protocol/seen-tools'
import type { Tool } from '@modelcontextprotocol/sdk/types.js'
import type { ToolList } from './tool-list.ts'
import { type VettedTool, vetTool } from './tool-definition.ts'

/** How many complaints are told at a time. */
const MAX_TOLD = 8
/** How many complaints are remembered. */
const MAX_REMEMBERED = 4_096

export interface Taken {
  readonly tools: readonly Tool[]
  /** What is wrong with the list that was not wrong with an earlier one. */
  readonly complaints: readonly string[]
  /** What the session has to keep of it. */
  readonly news: readonly SeenTool[]
}

interface Taking {
  readonly taken: ReadonlyMap<string, Tool>
  readonly news: SeenTool[]
}

/**
 * What a session has first seen of a server's tools. A person may have said yes to them as they were: one that changes is withheld for good.
 * New ones join.
 */
export class ToolPins {
  readonly #prefix: string
  readonly #digests = new Map<string, string>()
  readonly #withheld = new Set<string>()
  readonly #told = new Set<string>()

  /** `seen`: what was seen of them before. */
  constructor(prefix: string, seen: readonly SeenTool[]) {
    this.#prefix = prefix
    for (const { name, digest, is_withheld } of seen) {
      this.#digests.set(name, digest)
      if (is_withheld) this.#withheld.add(name)
    }
  }

  take({ tools, isCut }: ToolList): Taken {
    const taken = new Map<string, Tool>()
    const news: SeenTool[] = []
    const faults: string[] = isCut
      ? [`its list of tools has more than ${MAX_TOOLS}, or too many pages; the rest is left out`]
      : []
    for (const said of tools) {
      const vetted = vetTool(said, this.#prefix)
      const fault = 'fault' in vetted ? vetted.fault : this.#faultOf(vetted, { taken, news })
      const name = 'fault' in vetted ? vetted.name : vetted.tool.name
      if (fault !== undefined) faults.push(`its tool ${name.slice(0, 100)} ${fault}`)
      else if ('tool' in vetted) taken.set(name, vetted.tool)
    }
    const complaints = faults.filter((fault) => this.#isUntold(fault))
    return { tools: [...taken.values()], complaints: shortened(complaints), news }
  }

  /** undefined: it was never seen. */
  digestOf(name: string): string | undefined {
    return this.#digests.get(name)
  }

  isWithheld(name: string): boolean {
    return this.#withheld.has(name)
  }

  #faultOf({ tool: { name }, digest }: VettedTool, { taken, news }: Taking): string | undefined {
    if (taken.has(name)) return 'is there twice'
    const seen = this.#digests.get(name)
    if (seen === undefined) {
      if (this.#digests.size >= MAX_SEEN_TOOLS) return 'comes after too many others'
      this.#digests.set(name, digest)
      news.push({ name, digest, is_withheld: false })
      return undefined
    }
    if (seen !== digest && !this.#withheld.has(name)) {
      this.#withheld.add(name)
      news.push({ name, digest: seen, is_withheld: true })
    }
    return this.#withheld.has(name) ? 'has changed, and is withheld' : undefined
  }

  #isUntold(fault: string): boolean {
    if (this.#told.has(fault) || this.#told.size >= MAX_REMEMBERED) return false
    this.#told.add(fault)
    return true
  }
}

function shortened(complaints: readonly string[]): readonly string[] {
  if (complaints.length <= MAX_TOLD) return complaints
  return [...complaints.slice(0, MAX_TOLD), `and so on, ${complaints.length} in all`]
}
