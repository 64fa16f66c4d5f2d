/** How long sandboxes of an environment live, and what outlives them. Ours: the profile does not have it. Times are seconds. */
import { z } from 'zod'

const WEEK_SECONDS = 7 * 24 * 3600

const seconds = z.int().min(0).max(WEEK_SECONDS)

/** Processes that the agent left running when its turn was over. */
const backgroundParams = z.discriminatedUnion('type', [
  /** They hold the sandbox as long as they run. */
  z.strictObject({ type: z.literal('keep') }),
  /** They hold it for this long. What is ended then is said in an event. */
  z.strictObject({ type: z.literal('kill_after'), seconds }),
])

export const lifecycleTypes = ['ephemeral', 'long_running', 'hybrid'] as const

/** `null` restores the default of the type; what is left out stays as it is, or becomes the default where the type changes. */
export const lifecycleParams = z
  .strictObject({
    /**
     * `ephemeral`: the sandbox goes when a turn is over, and only the outputs are kept. `long_running`: the sandbox stays.
     * `hybrid`: a sandbox that is idle is saved and released, and the next input brings its files back in another.
     */
    type: z.enum(lifecycleTypes).optional(),
    /** From the end of a turn until the sandbox is released. Not for `long_running`. */
    idle_timeout: seconds.nullish(),
    /** How long a sandbox waits for an answer of the client before it is released. */
    approval_hold: seconds.nullish(),
    /** From the end of a turn until a checkpoint is taken, where no other turn begins. */
    checkpoint_after: seconds.nullish(),
    background: backgroundParams.nullish(),
  })
  .meta({ id: 'LifecycleParams' })
export type LifecycleParams = z.infer<typeof lifecycleParams>

export const lifecycle = z
  .object({
    type: z.enum(lifecycleTypes),
    /** Null: never. */
    idle_timeout: seconds.nullable(),
    approval_hold: seconds.nullable(),
    checkpoint_after: seconds,
    background: z.discriminatedUnion('type', [
      z.object({ type: z.literal('keep') }),
      z.object({ type: z.literal('kill_after'), seconds }),
    ]),
  })
  .meta({ id: 'Lifecycle' })
export type Lifecycle = z.infer<typeof lifecycle>
