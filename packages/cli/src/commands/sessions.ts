import type { Anthropic } from '@anthropic-ai/sdk'
import type { Command } from 'commander'
import { connect, type ConnectionOptions } from '../connection.ts'
import type { Context } from '../context.ts'
import { exit } from '../exit.ts'
import { follow, type StreamEvent } from '../follow.ts'
import { Interrupts } from '../interrupts.ts'
import { jsonLine } from '../json-line.ts'
import { neutraliseLine } from '../neutralise.ts'
import { Screen } from '../screen.ts'
import { printTable } from '../table.ts'
import { Transcript } from '../transcript.ts'

interface ListOptions extends ConnectionOptions {
  readonly all?: boolean
  readonly json?: boolean
}

interface LogOptions extends ConnectionOptions {
  readonly follow?: boolean
  readonly json?: boolean
  readonly verbose?: boolean
}

export function addSessions(program: Command, context: Context): void {
  const sessions = program.command('sessions').description('see and remove sessions')
  sessions
    .command('ls')
    .description('list sessions, newest first')
    .option('--all', 'archived ones, too')
    .option('--json', 'one session per line as JSON')
    .action((_options: ListOptions, command: Command) => list(command.optsWithGlobals<ListOptions>(), context))
  sessions
    .command('show')
    .description('status, agent and usage of a session')
    .argument('<id>')
    .option('--json', 'the session as JSON')
    .action((id: string, _options: ListOptions, command: Command) =>
      show(id, command.optsWithGlobals<ListOptions>(), context),
    )
  sessions
    .command('logs')
    .description('what happened in a session')
    .argument('<id>')
    .option('-f, --follow', 'stay for what comes')
    .option('--json', 'one event per line as JSON')
    .option('--verbose', 'tool inputs and results whole')
    .action((id: string, _options: LogOptions, command: Command) =>
      logs(id, command.optsWithGlobals<LogOptions>(), context),
    )
  sessions
    .command('rm')
    .description('delete sessions with everything of them')
    .argument('<id...>')
    .action((ids: string[], _options: ConnectionOptions, command: Command) =>
      remove(ids, command.optsWithGlobals<ConnectionOptions>(), context),
    )
}

async function list(options: ListOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  using screen = Screen.of(context)
  const rows: string[][] = []
  for await (const session of client.beta.sessions.list({ include_archived: options.all === true })) {
    if (options.json === true) screen.line(jsonLine(session))
    else rows.push([session.id, session.status, session.agent.name, session.created_at, session.title ?? ''])
  }
  if (options.json !== true) printTable(screen, ['ID', 'STATUS', 'AGENT', 'CREATED', 'TITLE'], rows)
}

async function show(id: string, options: ListOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  const session = await client.beta.sessions.retrieve(id)
  using screen = Screen.of(context)
  if (options.json === true) return screen.line(jsonLine(session))
  for (const [name, value] of factsOf(session))
    screen.line(`${screen.paint('dim', name.padEnd(12))} ${neutraliseLine(value)}`)
}

function factsOf(session: Anthropic.Beta.BetaManagedAgentsSession): [string, string][] {
  const { usage, agent } = session
  const facts: [string, string][] = [
    ['id', session.id],
    ['status', session.status],
    ['title', session.title ?? ''],
    ['agent', `${agent.name} (${agent.id}, version ${agent.version})`],
    ['model', agent.model.id],
    ['environment', session.environment_id],
    ['created', session.created_at],
    ['archived', session.archived_at ?? ''],
    ['input', `${usage.input_tokens ?? 0} tokens, ${usage.cache_read_input_tokens ?? 0} more from the cache`],
    ['output', `${usage.output_tokens ?? 0} tokens`],
    ['list cost', dollars(usage.list_cost)],
    ['budget', dollars(session.budget?.max_list_cost)],
    ['active', `${Math.round(session.stats.active_seconds ?? 0)} s`],
  ]
  return facts.filter(([, value]) => value !== '')
}

function dollars(money: { readonly amount: string } | null | undefined): string {
  return money === null || money === undefined ? '' : `$${(Number(money.amount) / 100).toFixed(2)}`
}

async function logs(id: string, options: LogOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  using screen = Screen.of(context)
  const transcript = new Transcript({ screen, verbose: options.verbose === true, inputs: true })
  const print = (event: StreamEvent): void =>
    options.json === true ? screen.line(jsonLine(event)) : transcript.show(event)
  if (options.follow !== true) {
    for await (const event of client.beta.sessions.events.list(id)) print(event)
    return
  }
  using interrupts = new Interrupts(context.signals, () => interrupts.interrupt())
  const deltas = screen.isTerminal && options.json !== true
  for await (const event of follow(client, id, { signal: interrupts.leaving, deltas })) print(event)
  screen.endLine()
  if (interrupts.leaving.aborted) context.setExitCode(exit.interrupted)
}

async function remove(ids: readonly string[], options: ConnectionOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  using screen = Screen.of(context)
  for (const id of ids) {
    await client.beta.sessions.delete(id)
    screen.line(neutraliseLine(id))
  }
}
