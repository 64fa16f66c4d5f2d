import { type ApiKey, apiKey, createdKey, keyScope } from '@berth/protocol/api/key'
import { pageOf } from '@berth/protocol/api/page'
import { type Command, Option } from 'commander'
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
  readonly expires?: string
  readonly scope?: string
  readonly json?: boolean
}

export function addKeys(program: Command, context: Context): void {
  const keys = program.command('keys').description('API keys of this workspace')
  keys
    .command('create')
    .description('make a key; it is printed once and cannot be shown again')
    .requiredOption('--name <name>', 'what it is for')
    .option('--expires <when>', 'when it ends by itself: 45m, 12h or 30d from now, or an RFC 3339 time')
    .addOption(
      new Option('--scope <scope>', 'what it is good for: everything, or what GET answers')
        .choices(keyScope.options)
        .default('full'),
    )
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
  const { name, scope, expires } = options
  const body = { name, scope, ...(expires === undefined ? {} : { expires_at: toTime(expires, new Date()) }) }
  const made = createdKey.parse(await client.post<unknown>(PATH, { body }))
  using screen = Screen.of(context)
  screen.line(options.json === true ? jsonLine(made) : neutraliseLine(made.key))
}

const MINUTES: Readonly<Record<string, number>> = { m: 1, h: 60, d: 24 * 60 }

/** What is no duration is left to the server to judge. */
function toTime(when: string, now: Date): string {
  const [, count, unit = ''] = /^(\d{1,5})([mhd])$/.exec(when) ?? []
  const minutes = MINUTES[unit]
  return minutes === undefined ? when : new Date(now.getTime() + Number(count) * minutes * 60_000).toISOString()
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
          statusOf(one, new Date()),
          one.scope,
          one.created_at,
          one.expires_at ?? '',
          one.last_used_at ?? '',
          one.name,
        ])
    }
  } while (page !== null)
  if (options.json !== true)
    printTable(screen, ['ID', 'KEY', 'STATUS', 'SCOPE', 'CREATED', 'EXPIRES', 'LAST USED', 'NAME'], rows)
}

function statusOf(key: ApiKey, now: Date): string {
  if (key.revoked_at !== null) return 'revoked'
  return key.expires_at !== null && Date.parse(key.expires_at) <= now.getTime() ? 'expired' : 'active'
}

async function revoke(id: string, options: KeyOptions, context: Context): Promise<void> {
  const client = await connect(options, context)
  await client.post<unknown>(`${PATH}/${encodeURIComponent(id)}/revoke`)
  using screen = Screen.of(context)
  screen.line(neutraliseLine(id))
}
