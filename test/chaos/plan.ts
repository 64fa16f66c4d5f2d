/** What a seed stands for: sessions, their turns, and when what is killed. Plain data, the same for the same seed. */
import { tool } from '../harness/message.ts'
import { Random } from './random.ts'

/** `outage`: the server, and while it is away the session's sandbox; `disk`: the sandbox, with its disk. */
export const killKinds = ['server', 'gateway', 'runner', 'cli', 'sandbox', 'disk', 'link', 'outage'] as const
export type KillKind = (typeof killKinds)[number]

/** Moments at which a kill is likely to come between two steps that belong together; `null`: any moment. */
const landmarks = [
  'agent.tool_use',
  'agent.tool_result',
  'session.status_running',
  'session.status_idle',
  'user.message',
  null,
  null,
] as const

export interface Kill {
  readonly kind: KillKind
  /** Index of the session whose parts are meant; for server and gateway it does not matter. */
  readonly session: number
  /** It strikes when the streams have shown this many events since the kill before … */
  readonly afterEvents: number
  /** … then one of this type, of this session if something of the session's is killed, where it names one … */
  readonly landmark: (typeof landmarks)[number]
  /** … and this much time has passed since then. */
  readonly delayMs: number
  /** Of a server: how long it is away; of an outage: until the sandbox is killed. Of a link: how many bytes pass before it is cut. */
  readonly extent: number
}

/** All have a custom tool. */
export interface SessionKind {
  /** Each call of a builtin tool needs a yes. */
  readonly asks: boolean
  /** What becomes of a turn that is cut. */
  readonly policy: Policy
  /** Its sandbox is put away whenever it may be: when a turn is over, and when a call waits. */
  readonly rests: boolean
}
export type Policy = 'continue' | 'rerun' | 'stop'

const kinds: readonly SessionKind[] = [
  { asks: false, policy: 'continue', rests: false },
  { asks: true, policy: 'continue', rests: false },
  { asks: false, policy: 'rerun', rests: false },
  { asks: false, policy: 'stop', rests: false },
  { asks: false, policy: 'continue', rests: true },
  { asks: true, policy: 'continue', rests: true },
]

export interface Plan {
  readonly seed: number
  readonly sessions: readonly SessionKind[]
  readonly kills: readonly Kill[]
}

export interface Turn {
  /** First line of the prompt: like no other's. */
  readonly prompt: string
  readonly script: readonly string[]
  /** The POST is given up after this time and made again with its key; null: it is waited for. */
  readonly abandonAfterMs: number | null
  /** The POST is made once more after it was answered. */
  readonly isRepeated: boolean
  /** The next turn's message is sent behind it without waiting. */
  readonly isFollowedAtOnce: boolean
  /** The POST has no key: its repeats are marked as the official client marks them. Such a turn has no effects. */
  readonly isMarked: boolean
  /** So long after it was sent the turn is interrupted; null: it is not. */
  readonly interruptAfterMs: number | null
  /** Behind it a fork of the session begins, and does a turn. */
  readonly isForked: boolean
}

/** Words of effects and answers; each stands for one call of one script. */
export const effectPattern = /\be-\d+-\d+-\d+-\d+\b/g

export function makePlan(seed: number, size: { kills: number; sessions?: number }): Plan {
  const random = new Random(seed)
  const sessions = kinds.slice(0, size.sessions ?? kinds.length)
  const kills = shuffledKinds(random, size.kills).map((kind) => ({
    kind,
    session: random.between(0, sessions.length - 1),
    afterEvents: random.between(1, 25),
    ...momentOf(random),
    extent: kind === 'link' ? random.between(0, 4_000) : random.between(0, 600),
  }))
  return { seed, sessions, kills }
}

function momentOf(random: Random): Pick<Kill, 'landmark' | 'delayMs'> {
  const landmark = random.pick(landmarks)
  return { landmark, delayMs: random.between(0, landmark === null ? 250 : 60) }
}

/** Each kind as often as the others, in any order. */
function shuffledKinds(random: Random, count: number): KillKind[] {
  const kinds = Array.from({ length: count }, (_, n) => killKinds[n % killKinds.length] ?? 'server')
  return kinds
    .map((kind) => ({ kind, rank: random.next() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ kind }) => kind)
}

/** The n-th turn (from 1) of a session; there are as many as are asked for. */
export function turnOf(plan: Plan, session: number, n: number): Turn {
  const random = new Random(plan.seed * 1_000_003 + session * 7_919 + n)
  const isMarked = random.chance(0.2)
  const count = isMarked ? 0 : random.between(1, 3)
  const steps = Array.from({ length: count }, (_, step) => stepOf(random, `${session}-${n}-${step + 1}`))
  const closing = random.chance(0.3) ? ['::slow 20', '::chunks 30'] : []
  const prompt = `Work ${session}.${n}`
  return {
    prompt,
    script: [
      prompt,
      ...steps.flatMap((step) => [...step, '::next']),
      ...closing,
      `::text ${doneText(prompt)} after {{turns}} prompts`,
    ],
    abandonAfterMs: random.chance(0.2) ? random.between(1, 20) : null,
    // A marked request that is sent again after its answer is another one.
    isRepeated: random.chance(0.3) && !isMarked,
    isFollowedAtOnce: random.chance(0.25),
    isMarked,
    interruptAfterMs: random.chance(0.2) ? random.between(0, 1_500) : null,
    isForked: random.chance(0.15),
  }
}

/** Is the call with this effect refused, whenever it is asked for? */
export function isDenied(seed: number, effect: string): boolean {
  const number = Buffer.from(effect).reduce((sum, byte) => (sum * 31 + byte) % 2_147_483_647, seed + 1)
  return new Random(number).chance(0.25)
}

export function doneText(prompt: string): string {
  return `Done with ${prompt}`
}

function stepOf(random: Random, place: string): string[] {
  const custom = random.chance(0.2)
  const parallel = random.chance(0.35) ? random.between(2, 3) : 1
  return Array.from({ length: parallel }, (_, n) => {
    const effect = `e-${place}-${n + 1}`
    if (custom) return tool('mcp__custom__record', { effect })
    const pause = (random.between(0, 8) / 10).toFixed(1)
    return tool('Bash', { command: `echo ${effect} >> /workspace/effects; sleep ${pause}; echo ${effect}` })
  })
}
