import type { Bench } from '../measure.ts'
import { accept } from './accept.ts'
import { adoption } from './adoption.ts'
import { barrier } from './barrier.ts'
import { checkpoint } from './checkpoint.ts'
import { checkpoints } from './checkpoints.ts'
import { deltaLatency } from './delta-latency.ts'
import { egress } from './egress.ts'
import { firstText } from './first-text.ts'
import { fork } from './fork.ts'
import { gatewayKilled } from './gateway-killed.ts'
import { gateway } from './gateway.ts'
import { memory } from './memory.ts'
import { recovery } from './recovery.ts'
import { resume } from './resume.ts'
import { sandboxStart } from './sandbox-start.ts'
import { secrets } from './secrets.ts'
import { secondTurn } from './second-turn.ts'
import { subscribers } from './subscribers.ts'
import { warm } from './warm.ts'

export const benches: readonly Bench[] = [
  sandboxStart,
  firstText,
  warm,
  secondTurn,
  deltaLatency,
  accept,
  memory,
  gateway,
  gatewayKilled,
  egress,
  secrets,
  subscribers,
  adoption,
  recovery,
  barrier,
  resume,
  checkpoint,
  checkpoints,
  fork,
]
