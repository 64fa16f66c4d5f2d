/** Limits of one turn. Ours: the profile does not have them. */
import { z } from 'zod'

const WEEK_SECONDS = 7 * 24 * 3600

const maxTurns = z.int().min(1).max(10_000)
const seconds = z.int().min(1).max(WEEK_SECONDS)

/** `null` removes a limit; what is left out stays as it is (on a session: as the agent has it). */
export const limitsParams = z
  .strictObject({
    /** Model requests. */
    max_turns: maxTurns.nullish(),
    /** From the input to the end, by the clock; waiting for an answer to a call does not count. */
    turn_seconds: seconds.nullish(),
    /** Without a sign of life of the agent, while it is not waiting for an answer. */
    idle_seconds: seconds.nullish(),
  })
  .meta({ id: 'TurnLimitsParams' })
export type LimitsParams = z.infer<typeof limitsParams>

export const limits = z
  .object({
    max_turns: maxTurns.nullable(),
    turn_seconds: seconds.nullable(),
    idle_seconds: seconds.nullable(),
  })
  .meta({ id: 'TurnLimits' })
export type Limits = z.infer<typeof limits>

export const noLimits: Limits = { max_turns: null, turn_seconds: null, idle_seconds: null }
