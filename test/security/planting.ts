/** Sessions whose agents leave behind what would configure them, and what came of it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { contentPath, filesOf } from '../harness/berth-api.ts'
import { messagesOf, ofType, onlyOf, textOf } from '../harness/reading.ts'
import { SessionSandbox } from '../harness/session-sandbox.ts'
import type { TestBerth } from '../harness/test-berth.ts'
import { waitUntil } from '../harness/wait-until.ts'

const soon = (): AbortSignal => AbortSignal.timeout(100_000)
const planted = z.object({ case: z.number(), tried: z.string(), outcome: z.literal('planted') })

export interface Asked {
  readonly calls: readonly string[]
  /** What the tools before have said. */
  readonly seen: string
}

/** A shell command that leaves everything behind that is known to configure an agent, and says what in a file `devices`. */
export async function plantCommand(): Promise<string> {
  const source = await readFile(join(import.meta.dirname, 'inside/plant.mjs'))
  return `echo ${source.toString('base64')} | base64 -d > /tmp/plant.mjs; /opt/berth/node /tmp/plant.mjs ${Planting.marks} > devices`
}

export class Planting {
  /** Where each of them leaves a mark when it is obeyed. */
  static readonly marks = '/workspace/marks'
  readonly #berth: TestBerth

  constructor(berth: TestBerth) {
    this.#berth = berth
  }

  /** Runs a turn up to the call that has to be asked for. */
  async untilAsked(id: string, prompt: readonly string[]): Promise<Asked> {
    const turn = await this.#berth.runTurn(id, [...prompt, '::next', '::text Done.'], soon())
    const reason = onlyOf(turn, 'session.status_idle').stop_reason
    if (reason.type !== 'requires_action') throw new Error(`nothing was asked: ${JSON.stringify(reason)}`)
    const seen = ofType(turn, 'agent.tool_result').map(({ content }) => textOf(content))
    return { calls: reason.event_ids, seen: seen.join('') }
  }

  /** Goes on to the end of the turn; answers what the agent said. */
  async answer(id: string, { calls }: Asked, result: 'allow' | 'deny'): Promise<string[]> {
    await using events = await this.#berth.watch(id)
    const confirmation = { type: 'user.tool_confirmation' as const, result }
    await this.#berth.client.beta.sessions.events.send(id, {
      events: calls.map((tool_use_id) => ({ ...confirmation, tool_use_id })),
    })
    return messagesOf(await events.turn(0, soon()))
  }

  /** Resolves when the agent's process is gone: what comes then starts another. */
  async endProcess(id: string): Promise<void> {
    const sandbox = await SessionSandbox.of(this.#berth.traces, id)
    const { pid } = await sandbox.cli()
    process.kill(pid, 'SIGKILL')
    await waitUntil('the process is gone', async () => (await sandbox.processes()).every((one) => one.pid !== pid))
  }

  /** Puts a file into the session's workspace or home, as its agent could have. */
  async put(id: string, path: string, content: string | object): Promise<void> {
    const body = typeof content === 'string' ? content : JSON.stringify(content)
    const { status } = await this.#berth.fetch(contentPath(id, path), { method: 'PUT', body })
    if (status !== 200) throw new Error(`${path} was not written: ${status}`)
  }

  async read(id: string, path: string): Promise<string> {
    return await (await this.#berth.fetch(contentPath(id, path))).text()
  }

  /** Names in a directory of the session's, and none where there is no such directory. */
  async namesIn(id: string, path: string): Promise<string[]> {
    return (await filesOf(this.#berth, id, path)).data.map(({ name }) => name)
  }

  /** The whole conversation as the CLI has written it down, with what it was told beside the messages. */
  async transcript(id: string): Promise<string> {
    const dir = `/home/${id}/.claude/projects/session`
    const names = (await this.namesIn(id, dir)).filter((name) => name.endsWith('.jsonl'))
    return (await Promise.all(names.map((name) => this.read(id, `${dir}/${name}`)))).join('')
  }

  /** What has been left behind, each by the name of its mark. */
  async devicesOf(id: string): Promise<string[]> {
    const lines = await this.read(id, '/workspace/devices')
    return lines
      .trim()
      .split('\n')
      .map((line) => planted.parse(JSON.parse(line)).tried)
  }
}
