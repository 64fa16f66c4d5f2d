/** A session of which much is to be told, without a sandbox: it is renamed again and again. */
import type { TestServer } from '../../../packages/server/test/serve-app.ts'

const AT_ONCE = 50

export class BusySession {
  readonly id: string
  readonly #server: TestServer
  #count = 0

  static async create(server: TestServer): Promise<BusySession> {
    const agent = await server.client.beta.agents.create({ name: 'A', model: 'm' })
    const environment = await server.client.beta.environments.create({ name: 'e' })
    const { id } = await server.client.beta.sessions.create({ agent: agent.id, environment_id: environment.id })
    return new BusySession(server, id)
  }

  private constructor(server: TestServer, id: string) {
    this.#server = server
    this.id = id
  }

  get path(): string {
    return `/v1/sessions/${this.id}/events/stream`
  }

  /** Makes so many events of 9 KB, or of half a KB; resolves when they are told. */
  async tell(events: number, size: 'large' | 'small' = 'large'): Promise<void> {
    for (let left = events; left > 0; left -= AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, () => this.#rename(size)))
    }
  }

  /** Of every event there is, in order. */
  async ids(): Promise<string[]> {
    const ids: string[] = []
    for await (const { id } of this.#server.client.beta.sessions.events.list(this.id)) ids.push(id)
    return ids
  }

  async #rename(size: 'large' | 'small'): Promise<void> {
    const title = `number ${this.#count++}`
    const keys = Array.from({ length: size === 'large' ? 16 : 1 }, (_, index) => `key${index}`)
    const metadata = Object.fromEntries(keys.map((key) => [key, title.padEnd(512, 'x')]))
    const { id } = this
    await this.#server.engine.updateSession({ workspaceId: 'wrkspc_test', sessionId: id, body: { title, metadata } })
  }
}
