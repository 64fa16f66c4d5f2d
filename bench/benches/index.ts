import type { Bench } from '../measure.ts'
import { deltaLatency } from './delta-latency.ts'
import { firstText } from './first-text.ts'
import { sandboxStart } from './sandbox-start.ts'
import { secondTurn } from './second-turn.ts'

export const benches: readonly Bench[] = [sandboxStart, firstText, secondTurn, deltaLatency]
