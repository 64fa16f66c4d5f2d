/** A session whose turns run what they are told in its shell. */
import { type Berth, userMessage } from './berth.ts'
import { type Turn, Watcher } from './turns.ts'

export class ShellSession implements Disposable {
  readonly id: string
  readonly #berth: Berth
  readonly #watcher: Watcher

  private constructor(berth: Berth, id: string, watcher: Watcher) {
    this.id = id
    this.#berth = berth
    this.#watcher = watcher
  }

  /** A new one, or the one that is given. */
  static async open(berth: Berth, id?: string): Promise<ShellSession> {
    const own = id ?? (await berth.createSession())
    return new ShellSession(berth, own, await Watcher.open(berth.client, own))
  }

  /** One turn; answers what the commands have printed. Throws what they printed when they failed. */
  async run(...commands: readonly string[]): Promise<string> {
    const command = `{ ${commands.join('\n')}\n} 2>&1 && echo ok`
    const call = `::tool Bash ${JSON.stringify({ command })}`
    const { turn } = await this.say(`Run this.\n${call}\n::next\n::text {{result}}`)
    const said = turn.deltas.map(({ text }) => text).join('')
    if (!said.endsWith('ok')) throw new Error(`in the sandbox: ${said}`)
    return said.slice(0, -2).trim()
  }

  /** One turn of any kind. `firstTextMs`: from the request with the message to the first text. */
  async say(prompt: string): Promise<{ turn: Turn; firstTextMs: number }> {
    const began = performance.now()
    const sent = this.#berth.client.beta.sessions.events.send(this.id, { events: [userMessage(prompt)] })
    const [turn] = await Promise.all([this.#watcher.turn(), sent])
    return { turn, firstTextMs: turn.firstText - began }
  }

  [Symbol.dispose](): void {
    this.#watcher[Symbol.dispose]()
  }
}
