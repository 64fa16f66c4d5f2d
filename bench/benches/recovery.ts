/** From the kill of a part in the middle of a turn to the next sign of work of that turn. */
import { writeFile } from 'node:fs/promises'
import { SessionSandbox } from '../../test/harness/session-sandbox.ts'
import { type Berth, startBerthFor } from '../berth.ts'
import { openBareSession } from '../floors/bare-sdk.ts'
import { timeGatewayStart } from '../floors/gateway-start.ts'
import { type Bench, type Figure, interleave } from '../measure.ts'
import { callsFor, requestedAt, startModel } from '../model.ts'
import { poll } from '../poll.ts'
import { gatewayPid } from '../server-process.ts'
import { eventTimes } from '../session-events.ts'

/** The tool that runs when the kill comes; told to end by a file. */
const MARK = 'touch held'
const HELD = `::tool Bash {"command":"${MARK}; while [ ! -e go ]; do sleep 0.02; done"}\n::next\n::text After.`
/** The answer that streams when the kill comes: two seconds of it. */
const SPOKEN = `::slow 20\n::chunks 100\n::text ${'x'.repeat(400)}`

const inSandbox = ['CLI', 'runner', 'sandbox, disk kept', 'sandbox with disk'] as const
type InSandbox = (typeof inSandbox)[number]

/** Milliseconds after the kill. */
interface Recovery {
  /** The turn's next model request came in. */
  readonly request: number
  /** The client could see that the turn was cut. */
  readonly told: number
}

interface Measured {
  readonly killed: Map<InSandbox, Recovery[]>
  /** Berth: from the creation of a session to its first model request. */
  readonly cold: number[]
  /** The same with the bare SDK. */
  readonly bare: number[]
  readonly gateway: { readonly recovered: number[]; readonly started: number[] }
  readonly server: { readonly recovered: number[]; readonly started: number[] }
}

export const recovery: Bench = {
  name: 'recovery',
  about:
    'a kill in mid-turn of CLI, runner, sandbox, gateway, server → next model request or event; floor: a plain start',
  run: async ({ rounds, signal }) => {
    await using model = await startModel()
    await using berth = await startBerthFor(model.ready.url)
    await using empty = await startBerthFor(model.ready.url)
    const place = { berth, modelUrl: model.ready.url }
    const killed = new Map(inSandbox.map((kind) => [kind, [] as Recovery[]]))
    const measured: Measured = {
      killed,
      cold: [],
      bare: [],
      gateway: { recovered: [], started: [] },
      server: { recovered: [], started: [] },
    }
    let name = 0
    const next = (): Scene => ({ ...place, name: `Work ${name++}` })
    await interleave(Math.ceil(rounds / 2), [
      ...inSandbox.map((kind) => async () => {
        signal.throwIfAborted()
        killed.get(kind)?.push(await killInSandbox(next(), kind, measured.cold))
      }),
      async () => void measured.bare.push(await bareStart(next())),
      async () => void measured.gateway.recovered.push(await killGateway(next())),
      async () => void measured.gateway.started.push(await timeGatewayStart(place.modelUrl)),
      async () => void measured.server.recovered.push(await killServer(next())),
      async () => void measured.server.started.push(await restart(empty)),
    ])
    return figures(measured)
  },
}

function figures({ killed, cold, bare, gateway, server }: Measured): Figure[] {
  const ofKind = (kind: InSandbox): Figure[] => {
    const ours = killed.get(kind) ?? []
    const what = `recovery: ${kind} →`
    return [
      {
        what: `${what} next model request`,
        unit: 'ms',
        berth: ours.map(({ request }) => request),
        floor: kind === 'CLI' ? bare : cold,
      },
      { what: `${what} the client is told`, unit: 'ms', berth: ours.map(({ told }) => told), floor: [] },
    ]
  }
  return [
    ...inSandbox.flatMap(ofKind),
    {
      what: 'recovery: gateway → cut request comes again',
      unit: 'ms',
      berth: gateway.recovered,
      floor: gateway.started,
    },
    { what: 'recovery: server → next event of the turn', unit: 'ms', berth: server.recovered, floor: server.started },
  ]
}

interface Scene {
  readonly berth: Berth
  readonly modelUrl: string
  /** First line of the prompt, unlike any other. */
  readonly name: string
}

/** Adds to `cold` what the session's start took. */
async function killInSandbox(scene: Scene, kind: InSandbox, cold: number[]): Promise<Recovery> {
  const { berth, modelUrl, name } = scene
  const began = Date.now()
  const { id, sandbox } = await heldSession(scene)
  cold.push((await requestedAt(modelUrl, name)) - began)
  const cli = await sandbox.cli()
  const runner = await sandbox.runner()
  const at = Date.now()
  switch (kind) {
    case 'CLI':
      process.kill(cli.pid, 'SIGKILL')
      break
    case 'runner':
      process.kill(runner.pid, 'SIGKILL')
      break
    case 'sandbox, disk kept':
      await sandbox.kill({ disk: 'kept' })
      break
    case 'sandbox with disk':
      await sandbox.kill({ disk: 'lost' })
      break
    default:
      kind satisfies never
  }
  const request = await nextCall(scene, at)
  const [told = Number.NaN] = await eventTimes(berth.client, id, ['session.status_rescheduled'])
  await berth.removeSession(id)
  return { request: request - at, told: told - at }
}

/** The request that was being answered is cut; the CLI makes it again. */
async function killGateway(scene: Scene): Promise<number> {
  const { berth, modelUrl, name } = scene
  const id = await berth.createSession(`${name}\n${SPOKEN}`)
  await poll('the answer streams', async () => (await callsFor(modelUrl, name)).find((call) => call.isBeingAnswered))
  const at = Date.now()
  process.kill(await gatewayPid(berth.dataDir), 'SIGKILL')
  const request = await nextCall(scene, at)
  await berth.removeSession(id)
  return request - at
}

/** The tool ends and the model is asked again while no server is there; the sign of work is that the log shows it. */
async function killServer(scene: Scene): Promise<number> {
  const { berth } = scene
  const { id, sandbox } = await heldSession(scene)
  const { pid } = await sandbox.tool(MARK)
  const at = Date.now()
  await berth.server.kill()
  await writeFile(`/proc/${pid}/root/workspace/go`, '')
  await berth.server.startAgain()
  const first = await poll('the log shows work', async () => {
    const times = await eventTimes(berth.client, id, ['agent.tool_result', 'agent.message'])
    return times.find((time) => time > at)
  })
  await berth.removeSession(id)
  return first - at
}

/** A session in whose turn a tool runs. */
async function heldSession({ berth, name }: Scene): Promise<{ id: string; sandbox: SessionSandbox }> {
  const id = await berth.createSession(`${name}\n${HELD}`)
  const sandbox = await SessionSandbox.of(berth, id)
  await sandbox.tool(MARK)
  return { id, sandbox }
}

function nextCall({ modelUrl, name }: Scene, after: number): Promise<number> {
  return poll('the model is asked again', async () => (await callsFor(modelUrl, name)).find(({ at }) => at > after)?.at)
}

async function bareStart({ modelUrl, name }: Scene): Promise<number> {
  await using session = await openBareSession(modelUrl)
  const began = Date.now()
  await session.turn(`${name}\n::text Here I am.`)
  return (await requestedAt(modelUrl, name)) - began
}

async function restart({ server }: Berth): Promise<number> {
  const began = Date.now()
  await server.kill()
  await server.startAgain()
  return Date.now() - began
}
