/** Carries out a plan on a Berth of its own and judges what was seen. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerProcess } from '../harness/berth-server.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'
import { check, type Violation } from './checker.ts'
import type { Evidence } from './evidence.ts'
import { strike } from './kills.ts'
import { LinkCutter } from './link-cutter.ts'
import type { Kill, Plan, SessionKind } from './plan.ts'
import { Resumer } from './resumer.ts'
import { Recorder, SessionRecord } from './recorder.ts'
import { follow, talk, type Workload } from './workload.ts'

export interface Outcome {
  readonly violations: readonly Violation[]
  readonly evidence: Evidence
  /** Kills that found something to strike. */
  readonly struck: readonly Kill[]
  /** Every kill with its time. */
  readonly strikes: readonly string[]
  /** What the server logged. */
  readonly log: string
}

export interface RunOptions {
  readonly say?: (line: string) => void
  readonly signal: AbortSignal
}

interface Shown {
  readonly session: number
  readonly type: string
}

/** A kill strikes after this time even when nothing happens. */
const QUIET_MS = 4_000
/** So long after the last kill every turn must have ended. */
const SETTLE_MS = 150_000

export async function runChaos(plan: Plan, { say = () => undefined, signal }: RunOptions): Promise<Outcome> {
  await using berth = await startKillableBerth()
  await using cutter = new LinkCutter(berth.traces.stateDir)
  const recorder = new Recorder()
  for (const kind of plan.sessions) {
    recorder.sessions.push(new SessionRecord(await createSession(berth, kind), kind))
  }
  const state = { seen: new Array<Shown>(), isOver: false }
  const settling = new AbortController()
  const following = new AbortController()
  const workloads = recorder.sessions.map((record, session): Workload => ({
    berth,
    plan,
    session,
    record,
    isOver: () => state.isOver,
    onEvent: (type) => void state.seen.push({ session, type }),
    signal: AbortSignal.any([signal, settling.signal]),
  }))
  const followers = workloads.map((workload) => follow(workload, following.signal))
  const resumers = workloads.map((workload) => new Resumer(workload))
  for (const resumer of resumers) resumer.start()
  const talks = Promise.allSettled(workloads.map(talk))
  const struck: Kill[] = []
  const strikes: string[] = []
  for (const kill of plan.kills) {
    await moment(kill, state, signal)
    const record = recorder.sessions[kill.session]
    if (record === undefined) throw new RangeError(`no session ${kill.session}`)
    const hit = await strike[kill.kind]({ berth, cutter, record, kill, signal })
    say(`${hit ? 'killed' : 'missed'} ${nameOf(kill)}`)
    if (hit) struck.push(kill)
    strikes.push(`${new Date().toISOString()} ${hit ? 'killed' : 'missed'} ${nameOf(kill)}`)
    recorder.noteRequests(berth.model.requests())
  }
  state.isOver = true
  const timer = setTimeout(() => settling.abort(), SETTLE_MS)
  for (const ended of await talks) {
    if (ended.status === 'rejected' && !settling.signal.aborted) throw ended.reason
  }
  clearTimeout(timer)
  following.abort()
  await Promise.all(followers)
  await Promise.all(
    resumers.map(async (resumer, n) => resumer.stopBehind((await recorder.sessions[n]?.list(berth))?.at(-1)?.id)),
  )
  const evidence = await recorder.close(berth)
  return { violations: check(evidence), evidence, struck, strikes, log: berth.server.log() }
}

/** Resolves when enough has been seen since the kill before, and the delay is over. */
async function moment(kill: Kill, state: { readonly seen: readonly Shown[] }, signal: AbortSignal): Promise<void> {
  const from = state.seen.length
  const quiet = AbortSignal.timeout(QUIET_MS)
  const { afterEvents, landmark } = kill
  const isTime = (): boolean => {
    const rest = state.seen.slice(from + afterEvents - 1)
    return landmark === null
      ? rest.length > 0
      : rest.some(({ session, type }) => type === landmark && (!isOfSession(kill) || session === kill.session))
  }
  while (!isTime() && !quiet.aborted) await sleep(2, undefined, { signal })
  await sleep(kill.delayMs, undefined, { signal })
}

function nameOf(kill: Kill): string {
  return `${kill.kind}${isOfSession(kill) ? ` of session ${kill.session}` : ''}`
}

function isOfSession({ kind }: Kill): boolean {
  return kind !== 'server' && kind !== 'gateway'
}

async function createSession(berth: TestBerth<ServerProcess>, kind: SessionKind): Promise<string> {
  const agent = await berth.createAgent({
    tools: [
      {
        type: 'agent_toolset_20260401',
        configs: [
          { name: 'bash', permission_policy: { type: kind.asks ? 'always_ask' : 'always_allow' } },
          { name: 'web_fetch', enabled: false },
          { name: 'web_search', enabled: false },
        ],
      },
      {
        type: 'custom',
        name: 'record',
        description: 'Records an effect.',
        input_schema: { type: 'object', properties: { effect: { type: 'string' } }, required: ['effect'] },
      },
    ],
  })
  // What the official client does not know of travels along.
  const lifecycle = kind.rests ? { idle_timeout: 0, approval_hold: 0 } : {}
  const config = { type: 'cloud' as const, berth: { on_interrupted_turn: kind.policy, lifecycle } }
  const environment = await berth.createEnvironment({ config })
  return (await berth.createSession({ agent: agent.id, environment_id: environment.id })).id
}
