/** Sandboxes that an environment keeps started for sessions to come. Ours: the profile does not have it. */
import { z } from 'zod'
import { idText } from './text.ts'

const size = z.int().min(0).max(100)

/** What is left out stays as it is; `null` restores the default. */
export const warmPoolParams = z
  .strictObject({
    /** How many are kept; 0, the default: none. The server bounds what all environments keep together. */
    size: size.nullish(),
    /**
     * Each has a CLI of this agent's newest version waiting in it, and is for that agent's new sessions. Default: none; then they have no
     * CLI yet, and are for whatever session of the environment needs a sandbox.
     */
    agent: idText.nullish(),
  })
  .meta({ id: 'WarmPoolParams' })
export type WarmPoolParams = z.infer<typeof warmPoolParams>

export const warmPool = z.object({ size, agent: idText.nullable() }).meta({ id: 'WarmPool' })
export type WarmPool = z.infer<typeof warmPool>
