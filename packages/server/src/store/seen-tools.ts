/** What sessions have first seen of the tools of their remote MCP servers: a runner reports it, and the runners to come are told. */
import type { Report, SessionConfig } from '@berth/protocol'
import { MAX_SEEN_TOOLS, type SeenTool, type SeenTools, seenTools } from '@berth/protocol/seen-tools'
import type { Db } from './store.ts'

interface Of {
  readonly sessionId: string
  /** The session's, as its runner is told them. */
  readonly servers: SessionConfig['mcp_servers']
}

/**
 * Adds what a runner has seen. What is known stays as it is, but that a tool may be withheld from now on; what is said of servers that the session
 * does not have, and what is too much of one, is passed over.
 */
export async function noteSeenTools(db: Db, of: Of, report: Extract<Report, { type: 'seen_tools' }>): Promise<void> {
  if (!of.servers.some((server) => isAt(server, report))) return
  const { server, place } = report
  const known = (await listSeenTools(db, of)).find((one) => isSame(one, report))
  const tools = JSON.stringify(merged(known?.tools ?? [], report.tools))
  await db
    .insertInto('seen_tools')
    .values({ session_id: of.sessionId, server, place, tools })
    .onConflict((conflict) => conflict.columns(['session_id', 'server', 'place']).doUpdateSet({ tools }))
    .execute()
}

/** Of the session's present servers. */
export async function listSeenTools(db: Db, { sessionId, servers }: Of): Promise<SeenTools[]> {
  const rows = await db
    .selectFrom('seen_tools')
    .select(['server', 'place', 'tools'])
    .where('session_id', '=', sessionId)
    .orderBy('server')
    .execute()
  return rows
    .filter((row) => servers.some((server) => isAt(server, row)))
    .map((row) => seenTools.parse({ ...row, tools: JSON.parse(row.tools) }))
}

/** The same, and of all others nothing is kept: should the session get them back, they are as new. */
export async function keepSeenTools(db: Db, of: Of): Promise<SeenTools[]> {
  const kept = await listSeenTools(db, of)
  await forgetSeenTools(db, of)
  const rows = kept.map(({ tools, ...at }) => ({ session_id: of.sessionId, ...at, tools: JSON.stringify(tools) }))
  if (rows.length > 0) await db.insertInto('seen_tools').values(rows).execute()
  return kept
}

export async function forgetSeenTools(db: Db, { sessionId }: Pick<Of, 'sessionId'>): Promise<void> {
  await db.deleteFrom('seen_tools').where('session_id', '=', sessionId).execute()
}

export async function hasSeenTools(db: Db, { sessionId }: Pick<Of, 'sessionId'>): Promise<boolean> {
  const one = await db.selectFrom('seen_tools').select('server').where('session_id', '=', sessionId).executeTakeFirst()
  return one !== undefined
}

/** A fork has seen all that its original has, wherever it begins. */
export async function copySeenTools(db: Db, { from, to }: { from: string; to: string }): Promise<void> {
  const rows = await db.selectFrom('seen_tools').selectAll().where('session_id', '=', from).execute()
  if (rows.length === 0) return
  await db
    .insertInto('seen_tools')
    .values(rows.map((row) => ({ ...row, session_id: to })))
    .execute()
}

type At = Pick<SeenTools, 'server' | 'place'>

function isAt(server: Of['servers'][number], { server: name, place }: At): boolean {
  return server.type === 'remote' && server.name === name && server.place === place
}

function isSame(one: At, other: At): boolean {
  return one.server === other.server && one.place === other.place
}

function merged(known: readonly SeenTool[], told: readonly SeenTool[]): SeenTool[] {
  const tools = new Map(known.map((tool) => [tool.name, tool]))
  for (const tool of told) {
    const before = tools.get(tool.name)
    if (before !== undefined) tools.set(tool.name, { ...before, is_withheld: before.is_withheld || tool.is_withheld })
    else if (tools.size < MAX_SEEN_TOOLS) tools.set(tool.name, tool)
  }
  return [...tools.values()]
}
