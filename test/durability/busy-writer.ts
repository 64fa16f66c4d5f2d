/** Writes to a store and a ledger in a directory for as long as it lives, and says on stdout what it was told is durable. */
import { join } from 'node:path'
import { LedgerDatabase } from '@berth/gateway/ledger-database'
import { createAgentBody } from '@berth/protocol/api/agent'
import { createEnvironmentBody } from '@berth/protocol/api/environment'
import { listPrices } from '@berth/protocol/prices'
import { newAgent } from '@berth/server/domain/agent'
import { newEnvironment } from '@berth/server/domain/environment'
import { newId } from '@berth/server/domain/ids'
import { openSqliteStore } from '@berth/server/store/sqlite/open'
import type { Store } from '@berth/server/store/store'

const workspaceId = 'wrkspc_busy'
const SESSIONS = 8

function say(what: Readonly<Record<string, string>>): void {
  process.stdout.write(`${JSON.stringify(what)}\n`)
}

const now = (): string => new Date().toISOString()

async function newSession(store: Store): Promise<string> {
  const [agent, environment, id] = [newId('agent'), newId('env'), newId('sesn')]
  await store.createAgent({
    workspaceId,
    id: agent,
    body: newAgent(createAgentBody.parse({ name: 'A', model: 'm' })),
    now: now(),
  })
  const body = newEnvironment(createEnvironmentBody.parse({ name: 'e' }))
  await store.createEnvironment({ workspaceId, id: environment, body, now: now() })
  const session = { agent, environment_id: environment }
  await store.createSession({ id, threadId: newId('sthr'), workspaceId, body: session, prices: listPrices, now: now() })
  return id
}

/** One message after another, each under a key of its own. */
async function write(store: Store, sessionId: string): Promise<void> {
  for (;;) {
    const key = newId('req')
    const once = { by: 'key', requestId: newId('req'), fingerprint: key, scope: workspaceId, key, now: now() } as const
    const message = { type: 'user.message' as const, content: [{ type: 'text' as const, text: key }] }
    const { stored } = await store.acceptEvents({ workspaceId, sessionId, events: [message], now: now() }, once)
    say({ kind: 'event', id: stored[0]?.id ?? '', key })
  }
}

async function meter(ledger: LedgerDatabase): Promise<void> {
  for (;;) {
    const id = newId('req')
    const counts = { input_tokens: 1, output_tokens: 1, cache_read_input_tokens: 0, web_search_requests: 0 }
    const cache = { cache_creation_5m_input_tokens: 0, cache_creation_1h_input_tokens: 0 }
    const model = { upstream_request_id: null, model_asked: 'm', model_served: 'm', status: 200 }
    const times = { started_at: now(), ended_at: now(), outcome: 'ok' as const }
    ledger.write([
      {
        id,
        session_id: 's',
        agent_id: 'a',
        list_cost: 1,
        workspace_id: workspaceId,
        ...counts,
        ...cache,
        ...model,
        ...times,
      },
    ])
    say({ kind: 'metered', id })
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const dir = process.argv[2] ?? ''
await using store = await openSqliteStore(join(dir, 'berth.db'))
using ledger = new LedgerDatabase(join(dir, 'ledger.db'), now())
await store.ensureWorkspace({ id: workspaceId, name: 'busy', now: now() })
const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => newSession(store)))
await Promise.all([...sessions.map((id) => write(store, id)), meter(ledger)])
