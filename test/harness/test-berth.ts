/**
 * A whole Berth for stories: real server, gateway, OCI sandboxes, SQLite file and the official client; the model alone is scripted.
 * Disposing it removes everything, also after a story failed half-way.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import type { EventStreamParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'
import { type RequestRecord, type ScriptedModel, startScriptedModel } from '@berth/scripted-model'
import { type BerthServer, type ServerConfig, ServerProcess, startServerHere } from './berth-server.ts'
import { EventCollector, type StreamEvent } from './event-collector.ts'
import { MachineTraces } from './machine-traces.ts'
import { type Content, message } from './message.ts'
import { endSession } from './end-session.ts'

export type AgentParams = Anthropic.Beta.AgentCreateParams
export type EnvironmentParams = Anthropic.Beta.EnvironmentCreateParams
export type SessionParams = Anthropic.Beta.SessionCreateParams

/** Everything on, nothing asked. The web tools need a network that no sandbox has here. */
const defaultTools: AgentParams['tools'] = [
  {
    type: 'agent_toolset_20260401',
    configs: [
      { name: 'web_fetch', enabled: false },
      { name: 'web_search', enabled: false },
    ],
  },
]

interface Parts<Server extends BerthServer> {
  readonly dir: string
  readonly model: ScriptedModel
  readonly traces: MachineTraces
  readonly server: Server
}

export class TestBerth<Server extends BerthServer = BerthServer> implements AsyncDisposable {
  readonly dir: string
  readonly model: ScriptedModel
  readonly traces: MachineTraces
  readonly server: Server
  /** The official client as it comes, but for its retries: a story sees every answer. */
  readonly client: Anthropic
  readonly #sessions = new Set<string>()
  #agentId: Promise<string> | undefined
  #environmentId: Promise<string> | undefined

  constructor({ dir, model, traces, server }: Parts<Server>) {
    this.dir = dir
    this.model = model
    this.traces = traces
    this.server = server
    this.client = new Anthropic({ baseURL: server.url, apiKey: server.apiKey, maxRetries: 0 })
  }

  async createAgent(overrides: Partial<AgentParams> = {}): Promise<Anthropic.Beta.BetaManagedAgentsAgent> {
    return await this.client.beta.agents.create({
      name: 'Tester',
      model: 'claude-sonnet-5-5',
      tools: defaultTools,
      ...overrides,
    })
  }

  async createEnvironment(overrides: Partial<EnvironmentParams> = {}): Promise<Anthropic.Beta.BetaEnvironment> {
    return await this.client.beta.environments.create({
      name: 'Test',
      config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: [] } },
      ...overrides,
    })
  }

  /** With an agent that may do everything and a plain environment, unless others are named. */
  async createSession(overrides: Partial<SessionParams> = {}): Promise<Anthropic.Beta.BetaManagedAgentsSession> {
    this.#agentId ??= this.createAgent().then(({ id }) => id)
    this.#environmentId ??= this.createEnvironment().then(({ id }) => id)
    const agent = overrides.agent ?? (await this.#agentId)
    const environment_id = overrides.environment_id ?? (await this.#environmentId)
    const session = await this.client.beta.sessions.create({ ...overrides, agent, environment_id })
    this.#sessions.add(session.id)
    return session
  }

  /** In an environment of its own, with what Berth adds to those: `{ lifecycle: { type: 'ephemeral' } }`. */
  async createSessionWith(
    environment: Readonly<Record<string, unknown>>,
    overrides: Partial<SessionParams> = {},
  ): Promise<Anthropic.Beta.BetaManagedAgentsSession> {
    // What the official client does not know of travels along.
    const config = { type: 'cloud' as const, berth: environment }
    const { id: environment_id } = await this.createEnvironment({ config })
    return await this.createSession({ ...overrides, environment_id })
  }

  /** A session that was made otherwise ends with the others. */
  adopt(sessionId: string): void {
    this.#sessions.add(sessionId)
  }

  watch(sessionId: string, params?: EventStreamParams): Promise<EventCollector> {
    return EventCollector.open(this.client, sessionId, params)
  }

  /** Sends one message: lines of a script, or content blocks. */
  async send(sessionId: string, content: Content): Promise<void> {
    await this.client.beta.sessions.events.send(sessionId, { events: [message(content)] })
  }

  /** Sends one message and answers what the stream showed until the session was idle. */
  async runTurn(sessionId: string, content: Content, signal?: AbortSignal): Promise<StreamEvent[]> {
    await using events = await this.watch(sessionId)
    await this.send(sessionId, content)
    return await events.turn(0, signal)
  }

  /** The log as the list shows it. */
  async list(sessionId: string): Promise<Anthropic.Beta.Sessions.BetaManagedAgentsSessionEvent[]> {
    const events: Anthropic.Beta.Sessions.BetaManagedAgentsSessionEvent[] = []
    for await (const event of this.client.beta.sessions.events.list(sessionId)) events.push(event)
    return events
  }

  /** A request as it is, with the key. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    headers.set('authorization', `Bearer ${this.server.apiKey}`)
    return await fetch(this.server.url + path, { ...init, headers })
  }

  /** Model calls for the prompt with this first line. */
  modelCalls(firstLine: string): RequestRecord[] {
    return this.model.requests().filter(({ prompt }) => prompt === firstLine)
  }

  /** Resolves when no session has a sandbox. */
  async untilPutAway(): Promise<void> {
    await this.traces.untilNone(AbortSignal.timeout(90_000))
  }

  /** Deletes every session that was made here, running ones too. */
  async endSessions(): Promise<void> {
    const ended = [...this.#sessions]
    await Promise.all(ended.map((id) => endSession(this.client, id)))
    for (const id of ended) this.#sessions.delete(id)
  }

  /** Ends all sessions and proves that the machine has nothing left of their sandboxes: process, mount, loop device, cgroup, file. */
  async assertClean(): Promise<void> {
    await this.endSessions()
    await this.traces.untilNone()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using left = new AsyncDisposableStack()
    left.defer(() => rm(this.dir, { recursive: true, force: true }))
    left.use(this.traces)
    left.use(this.model)
    left.defer(() => this.traces.untilNone())
    left.defer(() => this.traces.clear())
    left.defer(() => this.server.stop())
    await this.endSessions().catch(() => undefined)
  }
}

export interface TestBerthOptions {
  /** Further variables of the server's environment; these win. */
  readonly env?: Readonly<Record<string, string>>
  /** The one key that the scripted model takes; default: any. */
  readonly requireKey?: string
  /** Called with the empty data directory, before the server starts. */
  readonly prepare?: (dataDir: string) => Promise<unknown>
}

/** The server runs in this process. */
export function startTestBerth(options: TestBerthOptions = {}): Promise<TestBerth> {
  return start(startServerHere, options)
}

/** The server is `bin/berth serve`, a process that can be killed and started again: `berth.server.kill()`, `berth.server.restart()`. */
export function startKillableBerth(options: TestBerthOptions = {}): Promise<TestBerth<ServerProcess>> {
  return start((config) => ServerProcess.start(config), options)
}

async function start<Server extends BerthServer>(
  startServer: (config: ServerConfig) => Promise<Server>,
  { env, requireKey, prepare }: TestBerthOptions,
): Promise<TestBerth<Server>> {
  await using opened = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'bt-'))
  opened.defer(() => rm(dir, { recursive: true, force: true }))
  const model = opened.use(
    await startScriptedModel({
      listen: { host: '127.0.0.1', port: 0 },
      ...(requireKey === undefined ? {} : { requireKey }),
    }),
  )
  const traces = opened.use(await MachineTraces.follow(dir))
  opened.defer(() => traces.clear())
  await prepare?.(dir)
  const server = await startServer({ dataDir: dir, modelUrl: model.url, env })
  opened.move()
  return new TestBerth({ dir, model, traces, server })
}
