import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Anthropic } from '@anthropic-ai/sdk'
import type { Command } from 'commander'
import { destination, pino } from 'pino'
import { attend } from '../attend.ts'
import { clientFor, dataDirOf, DEFAULT_URL, explain } from '../connection.ts'
import type { Context } from '../context.ts'
import { agentFor, environmentFor } from '../default-agent.ts'
import { textOf } from '../entry.ts'
import { exit } from '../exit.ts'
import type { StreamEvent } from '../follow.ts'
import { Interrupts } from '../interrupts.ts'
import { quickstartTask, type Task } from '../quickstart-task.ts'
import { Screen } from '../screen.ts'
import { addServeOptions, modelLine, type ServeOptions, serveConfig } from '../serve-config.ts'
import type { RunningBerth, StartConfig } from '../start.ts'
import { Transcript } from '../transcript.ts'
import { Stopping } from '../stopping.ts'

type QuickstartOptions = ServeOptions & { readonly once?: boolean }

export function addQuickstart(program: Command, context: Context): void {
  addServeOptions(program.command('quickstart'))
    .description('start a server, give an agent a first task and watch it')
    .option('--once', 'stop after the task and leave nothing behind')
    .action((_options: QuickstartOptions, command: Command) =>
      quickstart(command.optsWithGlobals<QuickstartOptions>(), context),
    )
}

async function quickstart(options: QuickstartOptions, context: Context): Promise<void> {
  if (options.once !== true) {
    const config = serveConfig(options, context)
    await withServer({ config, context, once: false }, async (running, screen, stopping) => {
      await firstTask(running, { config, context, screen })
      if (!stopping.signal.aborted) printNext(running, { config, context, screen })
      await stopping.requested()
    })
    return
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'berth-'))
  try {
    const config = serveConfig({ ...options, dataDir, listen: options.listen ?? '127.0.0.1:0' }, context)
    await withServer({ config, context, once: true }, async (running, screen) => {
      context.setExitCode((await firstTask(running, { config, context, screen })) ? exit.ok : exit.failure)
    })
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
}

interface Serving {
  readonly config: StartConfig
  readonly context: Context
  readonly once: boolean
}

async function withServer(
  { config, context, once }: Serving,
  use: (running: RunningBerth, screen: Screen, stopping: Stopping) => Promise<void>,
): Promise<void> {
  using screen = Screen.of(context)
  screen.line(modelLine(config))
  screen.waitFor('starting')
  const logger = pino({ base: null, level: 'warn' }, destination({ dest: 2, sync: true }))
  using stopping = new Stopping(context)
  const { startBerth } = await import('../start.ts')
  const running = await startBerth(config, { logger, signal: stopping.signal })
  screen.done()
  try {
    await use(running, screen, stopping)
  } finally {
    stopping.drain()
    await running.close({ everything: once })
  }
}

interface Stage {
  readonly config: StartConfig
  readonly context: Context
  readonly screen: Screen
}

/** True when the agent's report holds what the program really printed. Removes the session. */
async function firstTask(running: RunningBerth, { config, context, screen }: Stage): Promise<boolean> {
  const client = clientFor(running.url, running.apiKey.value)
  const task = quickstartTask(randomBytes(8).toString('hex'))
  screen.line(`\n${task.prompt.replaceAll(/^/gm, '> ')}\n`)
  const session = await createSession(client, config.model === 'scripted' ? task.scripted : task.prompt)
  using interrupts = new Interrupts(context.signals, () => {
    client.beta.sessions.events
      .send(session.id, { events: [{ type: 'user.interrupt' }] })
      .catch((error: unknown) => screen.notice(explain(error)))
  })
  const transcript = new Transcript({ screen, verbose: false, inputs: false })
  const report = new Report(task)
  const show = (event: StreamEvent): void => {
    transcript.show(event)
    report.read(event)
  }
  const outcome = await attend(client, session.id, {
    context,
    screen,
    interrupts,
    show,
    mayAsk: false,
    deltas: screen.isTerminal,
  })
  if (outcome.atRest) await client.beta.sessions.delete(session.id)
  const ok = outcome.exitCode === exit.ok && report.isTrue
  screen.line(
    ok
      ? '\nThe report is true: the program ran in a sandbox of its own.'
      : '\nThe agent did not report what the program prints.',
  )
  return ok
}

async function createSession(client: Anthropic, prompt: string): Promise<{ id: string }> {
  const agent = await agentFor(client, {})
  const environment_id = await environmentFor(client)
  return client.beta.sessions.create({
    agent,
    environment_id,
    title: 'quickstart',
    initial_events: [{ type: 'user.message', content: [{ type: 'text', text: prompt }] }],
  })
}

/** Whether a tool printed what the program prints, and the agent's last message says so. */
class Report {
  readonly #expected: string
  #ran = false
  #last = ''

  constructor(task: Task) {
    this.#expected = task.expected
  }

  read(event: StreamEvent): void {
    if (event.type === 'agent.tool_result') this.#ran ||= textOf(event.content ?? []).includes(this.#expected)
    if (event.type === 'agent.message') this.#last = textOf(event.content)
  }

  get isTrue(): boolean {
    return this.#ran && this.#last.includes(this.#expected)
  }
}

function printNext({ url, apiKey }: RunningBerth, { config, context, screen }: Stage): void {
  const elsewhere =
    config.dataDir === dataDirOf(undefined, { ...context.env, BERTH_DATA_DIR: '' })
      ? []
      : ['--data-dir', config.dataDir]
  const berth = ['bin/berth', ...(url === DEFAULT_URL ? [] : ['--url', url]), ...elsewhere].join(' ')
  screen.line(
    [
      '',
      `Berth serves on ${url} until Ctrl-C. The API key is ${apiKey.value} (kept in ${apiKey.path}).`,
      'Next, in another terminal:',
      `  ${berth} run "your task"     give an agent something to do`,
      `  ${berth} sessions ls --all   see what ran`,
      `  ${berth} doctor              see what this machine can do`,
      `or point the official client at it: new Anthropic({ baseURL: '${url}', apiKey: '…' })`,
    ].join('\n'),
  )
}
