import { Resolver } from 'node:dns/promises'
import { z } from 'zod'

/** One look-up of one name. */
export interface HostResolver {
  /** All its addresses, at least one. Rejects when there is none, or when it cannot be known for certain that these are all. */
  resolve(host: string): Promise<string[]>
}

const QUERY_MS = 2_000
const TRIES = 2

const nothingThere = z.object({ code: z.enum(['ENODATA', 'ENOTFOUND']) })

/** Asks DNS and nothing else: no file of the machine, and the name is never completed. `servers` empty: those of the machine. */
export function openResolver(servers: readonly string[]): HostResolver {
  const resolver = new Resolver({ timeout: QUERY_MS, tries: TRIES })
  if (servers.length > 0) resolver.setServers(servers)
  const none = (error: unknown): string[] => {
    if (nothingThere.safeParse(error).success) return []
    throw error
  }
  return {
    resolve: async (host) => {
      const both = await Promise.all([resolver.resolve4(host).catch(none), resolver.resolve6(host).catch(none)])
      const addresses = both.flat()
      if (addresses.length === 0) throw new Error(`${host} has no address`)
      return addresses
    },
  }
}
