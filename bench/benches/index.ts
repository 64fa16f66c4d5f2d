import type { Bench } from '../measure.ts'
import { accept } from './accept.ts'
import { deltaLatency } from './delta-latency.ts'
import { firstText } from './first-text.ts'
import { gateway } from './gateway.ts'
import { memory } from './memory.ts'
import { sandboxStart } from './sandbox-start.ts'
import { secondTurn } from './second-turn.ts'
import { subscribers } from './subscribers.ts'

export const benches: readonly Bench[] = [
  sandboxStart,
  firstText,
  secondTurn,
  deltaLatency,
  accept,
  memory,
  gateway,
  subscribers,
]
