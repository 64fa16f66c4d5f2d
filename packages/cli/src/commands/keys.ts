import { apiKey, createdKey } from '@berth/protocol/api/key'
import { pageOf } from '@berth/protocol/api/page'
import type { Command } from 'commander'
import { connect, type ConnectionOptions } from '../connection.ts'
import type { Context } from '../context.ts'
import { jsonLine } from '../json-line.ts'
import { neutraliseLine } from '../neutralise.ts'
import { Screen } from '../screen.ts'
import { printTable } from '../table.ts'

const PATH = '/berth/v1/keys'
const keyPage = pageOf(apiKey)

interface KeyOptions extends ConnectionOptions {
  readonly name?: string
  readonly json?: boolean
}

export function addKeys(program: Command, context: Context): void {
  const keys = program.command('keys').description('API keys of this workspace')
  keys
    .command('create')
    .description('make a key; it is printed once and cannot be shown again')
    .requiredOption('--name <name>', 'what it is for')
    .option('--json', 'the answer as JSON')
    .action((_options: KeyOptions, command: Command) => create(command.optsWithGlobals<KeyOptions>(), context))
  keys
    .command('ls')
    .description('list keys')
    .option('--json', 'one key per line as JSON')
    .action((_options: KeyOptions, command: Command) => list(command.optsWithGlobals<KeyOptions>(), context))
  keys
    .command('revoke')
    .description('end a key at once')
    .argument('<id>')
    .action((id: string, _options: KeyOptions, command: Command) =>
      revoke(id, command.optsWithGlobals<KeyOptions>(), context),
    )
}

async function create(options: KeyOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  const made = createdKey.parse(await client.post<unknown>(PATH, { body: { name: options.name } }))
  using screen = Screen.of(context)
  screen.line(options.json === true ? jsonLine(made) : neutraliseLine(made.key))
}

async function list(options: KeyOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  using screen = Screen.of(context)
  const rows: string[][] = []
  let page: string | null = null
  do {
    const answer = keyPage.parse(await client.get<unknown>(PATH, { query: page === null ? {} : { page } }))
    page = answer.next_page
    for (const one of answer.data) {
      if (options.json === true) screen.line(jsonLine(one))
      else
        rows.push([
          one.id,
          one.hint,
          one.revoked_at === null ? 'active' : 'revoked',
          one.created_at,
          one.last_used_at ?? '',
          one.name,
        ])
    }
  } while (page !== null)
  if (options.json !== true) printTable(screen, ['ID', 'KEY', 'STATUS', 'CREATED', 'LAST USED', 'NAME'], rows)
}

async function revoke(id: string, options: KeyOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  await client.post<unknown>(`${PATH}/${encodeURIComponent(id)}/revoke`)
  using screen = Screen.of(context)
  screen.line(neutraliseLine(id))
}
