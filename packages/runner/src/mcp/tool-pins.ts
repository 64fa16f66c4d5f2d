import type { Tool } from '@modelcontextprotocol/sdk/types.js'
import { MAX_TOOLS, type ToolList } from './tool-list.ts'
import { type VettedTool, vetTool } from './tool-definition.ts'

/** How many complaints are told at a time. */
const MAX_TOLD = 8
/** How many tools a server may name in a session's life, one after the other. */
const MAX_SEEN = 4_096

export interface Taken {
  readonly tools: readonly Tool[]
  /** What is wrong with the list that was not wrong with an earlier one. */
  readonly complaints: readonly string[]
}

/**
 * What was first seen of a server's tools. A person may have said yes to them as they were: one that changes is withheld for good. New ones
 * join.
 */
export class ToolPins {
  readonly #prefix: string
  readonly #digests = new Map<string, string>()
  readonly #withheld = new Set<string>()
  readonly #told = new Set<string>()

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  take({ tools, isCut }: ToolList): Taken {
    const taken = new Map<string, Tool>()
    const faults: string[] = isCut
      ? [`its list of tools has more than ${MAX_TOOLS}, or too many pages; the rest is left out`]
      : []
    for (const said of tools) {
      const vetted = vetTool(said, this.#prefix)
      const fault = 'fault' in vetted ? vetted.fault : this.#faultOf(vetted, taken)
      const name = 'fault' in vetted ? vetted.name : vetted.tool.name
      if (fault !== undefined) faults.push(`its tool ${name.slice(0, 100)} ${fault}`)
      else if ('tool' in vetted) taken.set(name, vetted.tool)
    }
    const complaints = faults.filter((fault) => this.#isNews(fault))
    return { tools: [...taken.values()], complaints: shortened(complaints) }
  }

  isWithheld(name: string): boolean {
    return this.#withheld.has(name)
  }

  #faultOf({ tool: { name }, digest }: VettedTool, taken: ReadonlyMap<string, Tool>): string | undefined {
    if (taken.has(name)) return 'is there twice'
    const seen = this.#digests.get(name)
    if (seen === undefined) {
      if (this.#digests.size >= MAX_SEEN) return 'comes after too many others'
      this.#digests.set(name, digest)
      return undefined
    }
    if (seen !== digest) this.#withheld.add(name)
    return this.#withheld.has(name) ? 'has changed, and is withheld' : undefined
  }

  #isNews(fault: string): boolean {
    if (this.#told.has(fault) || this.#told.size >= MAX_SEEN) return false
    this.#told.add(fault)
    return true
  }
}

function shortened(complaints: readonly string[]): readonly string[] {
  if (complaints.length <= MAX_TOLD) return complaints
  return [...complaints.slice(0, MAX_TOLD), `and so on, ${complaints.length} in all`]
}
