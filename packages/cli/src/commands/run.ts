import { randomUUID } from 'node:crypto'
import type { Anthropic } from '@anthropic-ai/sdk'
import type { Command } from 'commander'
import { attend, type Outcome } from '../attend.ts'
import { connect, type ConnectionOptions, explain } from '../connection.ts'
import type { Context } from '../context.ts'
import { agentFor, environmentFor } from '../default-agent.ts'
import { exit } from '../exit.ts'
import type { StreamEvent } from '../follow.ts'
import { Interrupts } from '../interrupts.ts'
import { jsonLine } from '../json-line.ts'
import { Screen } from '../screen.ts'
import { Transcript } from '../transcript.ts'

interface RunOptions extends ConnectionOptions {
  readonly agent?: string
  readonly environment?: string
  readonly model?: string
  readonly system?: string
  readonly title?: string
  readonly keep?: boolean
  readonly json?: boolean
  readonly verbose?: boolean
}

export function addRun(program: Command, context: Context): void {
  program
    .command('run')
    .description('give an agent a task and watch it')
    .argument('<prompt>', 'what to do')
    .option('--agent <id or name>', "an agent that exists (default: the CLI's own, made when needed)")
    .option('--environment <id or name>', "an environment that exists (default: the CLI's own)")
    .option('--model <id>', 'model, instead of the agent’s')
    .option('--system <text>', 'system prompt, instead of the agent’s')
    .option('--title <text>', 'title of the session')
    .option('--keep', 'keep the session for more messages (default: archive it when the task is done)')
    .option('--json', 'print every event as one line of JSON')
    .option('--verbose', 'print tool inputs and results whole')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failed, 2 usage, 3 waits for an approval, 130 interrupted (Ctrl-C; twice leaves).',
    )
    .action(async (prompt: string, _options: RunOptions, command: Command) => {
      context.setExitCode(await run(prompt, command.optsWithGlobals<RunOptions>(), context))
    })
}

async function run(prompt: string, options: RunOptions, context: Context): Promise<number> {
  const client = await connect(options, context)
  const json = options.json === true
  using screen = Screen.of(context)
  if (!json) screen.waitFor('starting')
  const session = await createSession(client, prompt, options)
  using interrupts = new Interrupts(context.signals, () => {
    screen.notice('interrupting the agent (Ctrl-C again to leave)')
    client.beta.sessions.events
      .send(session.id, { events: [{ type: 'user.interrupt' }] })
      .catch((error: unknown) => screen.notice(explain(error)))
  })
  const outcome = await attend(client, session.id, {
    context,
    screen,
    interrupts,
    show: shower(options, screen, context),
    mayAsk: !json && context.stdin.isTTY === true && context.stdout.isTTY === true,
    deltas: !json && screen.isTerminal,
  }).catch((error: unknown) => {
    screen.notice(`session ${session.id} goes on; see it with: berth sessions logs -f ${session.id}`)
    throw error
  })
  await finish(client, session.id, { outcome, keep: options.keep === true, screen })
  return outcome.exitCode
}

function shower(options: RunOptions, screen: Screen, context: Context): (event: StreamEvent) => void {
  if (options.json === true) return (event) => void context.stdout.write(`${jsonLine(event)}\n`)
  const transcript = new Transcript({ screen, verbose: options.verbose === true, inputs: false })
  return (event) => transcript.show(event)
}

async function createSession(client: Anthropic, prompt: string, options: RunOptions): Promise<{ id: string }> {
  const agent = await agentFor(client, options)
  const environment_id = await environmentFor(client, options.environment)
  return client.beta.sessions.create(
    {
      agent,
      environment_id,
      title: options.title ?? null,
      initial_events: [{ type: 'user.message', content: [{ type: 'text', text: prompt }] }],
    },
    { headers: { 'idempotency-key': randomUUID() } },
  )
}

interface Ending {
  readonly outcome: Outcome
  readonly keep: boolean
  readonly screen: Screen
}

async function finish(client: Anthropic, id: string, { outcome, keep, screen }: Ending): Promise<void> {
  if (outcome.atRest && !keep) {
    await client.beta.sessions
      .archive(id)
      .catch((error: unknown) => screen.notice(`session ${id} could not be archived: ${explain(error)}`))
  } else if (outcome.exitCode === exit.interrupted && !outcome.atRest) {
    screen.notice(`left; session ${id} goes on: berth sessions logs -f ${id}`)
  } else if (keep) {
    screen.notice(`session ${id} is kept: berth sessions logs ${id}`)
  }
}
