/** What a lifecycle comes to, and what it wants done with a sandbox whose session rests. */
import { type Lifecycle, type LifecycleParams } from '@berth/protocol/api/lifecycle'
import type { StopReason } from '@berth/protocol/api/event'
import { invalid } from './refusal.ts'

const HOUR = 3_600

const common = { approval_hold: 60, checkpoint_after: 5, background: { type: 'kill_after', seconds: HOUR } } as const

export const defaultLifecycles: Readonly<Record<Lifecycle['type'], Lifecycle>> = {
  ephemeral: { type: 'ephemeral', idle_timeout: 0, ...common },
  long_running: { type: 'long_running', idle_timeout: null, ...common, approval_hold: null },
  hybrid: { type: 'hybrid', idle_timeout: 300, ...common },
}

export const defaultLifecycle = defaultLifecycles.hybrid

/** Between two looks at processes that hold a sandbox: as long as the session has rested, within these. */
const FIRST_LOOK_MS = 200
const LAST_LOOK_MS = 15_000

export function acceptLifecycle(params: LifecycleParams, current: Lifecycle, field: string): Lifecycle {
  const type = params.type ?? current.type
  const fallback = defaultLifecycles[type]
  const base = type === current.type ? current : fallback
  const pick = <Value>(wanted: Value | null | undefined, kept: Value, given: Value): Value =>
    wanted === undefined ? kept : (wanted ?? given)
  if (type === 'long_running' && typeof params.idle_timeout === 'number') {
    throw invalid(`${field}.idle_timeout`, 'a long_running sandbox has none; use hybrid')
  }
  return {
    type,
    idle_timeout: pick(params.idle_timeout, base.idle_timeout, fallback.idle_timeout),
    approval_hold: pick(params.approval_hold, base.approval_hold, fallback.approval_hold),
    checkpoint_after: pick(params.checkpoint_after, base.checkpoint_after, fallback.checkpoint_after),
    background: pick(params.background, base.background, fallback.background),
  }
}

/** A session whose turn is over, or waits for the client, with a sandbox. */
export interface Resting {
  readonly lifecycle: Lifecycle
  readonly stopReason: StopReason['type'] | undefined
  /** Something may have changed since the last checkpoint. */
  readonly isChanged: boolean
}

/** `release`: save what the lifecycle keeps, then let the sandbox go. */
export type RestStep = 'checkpoint' | 'release'

/** The next step, and how many ms after the session came to rest it is due; undefined: everything is done. */
export function nextRestStep(resting: Resting): { readonly step: RestStep; readonly afterMs: number } | undefined {
  const { lifecycle, isChanged } = resting
  const isWaiting = resting.stopReason === 'requires_action'
  const isHeld = isWaiting || resting.stopReason === 'budget_reached'
  const release = isHeld ? lifecycle.approval_hold : lifecycle.idle_timeout
  // In the middle of a turn there is no checkpoint but the one with which the sandbox is released.
  const checkpoint = isChanged && !isWaiting && lifecycle.type !== 'ephemeral' ? lifecycle.checkpoint_after : null
  if (checkpoint !== null && (release === null || checkpoint < release)) {
    return { step: 'checkpoint', afterMs: checkpoint * 1_000 }
  }
  return release === null ? undefined : { step: 'release', afterMs: release * 1_000 }
}

/**
 * For a session that has rested so long, and whose sandbox processes of the agent hold: when to look at them again; 0 when they may hold it no longer. Soon at
 * first, for what is just about to end.
 */
export function holdMs({ background }: Lifecycle, restedMs: number): number {
  const leftMs = background.type === 'keep' ? Infinity : background.seconds * 1_000 - restedMs
  return Math.max(0, Math.min(leftMs, LAST_LOOK_MS, Math.max(restedMs, FIRST_LOOK_MS)))
}
