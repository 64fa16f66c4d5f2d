/** Vaults with a real gateway and a real sandbox: what is where, and what is nowhere. What happens to requests on the way out is the gateway's own tests' part. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gatewayVault } from '@berth/protocol/gateway-vault'
import { sessionRoute } from '@berth/protocol/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { expect, test } from 'vitest'
import { fork } from '../harness/berth-api.ts'
import { ofType, onlyOf, textOf } from '../harness/reading.ts'
import { bash } from '../harness/message.ts'
import { story } from '../harness/story.ts'
import { startKillableBerth, type TestBerth } from '../harness/test-berth.ts'

const CANARY = 'canary-vault-5d1e77c09b'
const STORY_MS = 240_000
const patient = (): AbortSignal => AbortSignal.timeout(60_000)

const variable = (secret_name: string, secret_value: string, host: string) => ({
  type: 'environment_variable' as const,
  secret_name,
  secret_value,
  networking: { type: 'limited' as const, allowed_hosts: [host] },
})

/** What the gateway has of the vault on its disk; undefined: nothing. */
async function vaultFile(berth: TestBerth, id: string): Promise<string | undefined> {
  return readFile(join(berth.dir, 'gateway', 'vaults', `${id}.json`), 'utf8').catch(() => undefined)
}

async function routeOf(berth: TestBerth, sessionId: string) {
  const text = await readFile(join(berth.dir, 'gateway', 'sessions', `${sessionId}.json`), 'utf8')
  return sessionRoute.parse(JSON.parse(text))
}

/** Variables of the agent's shell, and what the turn showed. */
async function look(berth: TestBerth, sessionId: string) {
  const turn = await berth.runTurn(sessionId, ['Look', bash('env'), '::next', '::text Seen.'], patient())
  const text = textOf(onlyOf(turn, 'agent.tool_result').content)
  const env = new Map(text.split('\n').map((line) => [line.replace(/=.*/, ''), line.replace(/^[^=]*=/, '')] as const))
  return { turn, text, env }
}

async function filesWithCanary(dir: string): Promise<string> {
  const { stdout } = await promisify(execFile)('sh', ['-c', `LC_ALL=C grep -raFl -- ${CANARY} '${dir}' || true`])
  return stdout
}

story(
  'a sandbox has placeholders, the gateway has the sealed secret, and changes reach it at once',
  async ({ berth }) => {
    const { vaults, sessions } = berth.client.beta
    const { id: vault_id } = await vaults.create({ display_name: 'Ada' })
    const auth = variable('MY_TOKEN', `${CANARY}-1`, 'api.example.com')
    const { id } = await vaults.credentials.create(vault_id, { auth })
    const networking = { type: 'limited' as const, allowed_hosts: ['*.example.com'] }
    // Small, for all of it is searched.
    const config = { type: 'cloud' as const, networking, berth: { resources: { disk_mib: 256 } } }
    const environment = await berth.createEnvironment({ config })
    const session = await berth.createSession({ environment_id: environment.id, vault_ids: [vault_id] })
    expect(session.vault_ids).toEqual([vault_id])

    const first = await look(berth, session.id)
    const placeholder = first.env.get('MY_TOKEN') ?? ''
    expect(placeholder).toMatch(/^berth-placeholder-[\w-]{32}$/)
    expect(first.text).not.toContain(CANARY)
    expect(ofType(first.turn, 'session.error')).toEqual([])
    const before = await vaultFile(berth, vault_id)
    expect(gatewayVault.parse(JSON.parse(before ?? '')).credentials).toMatchObject([{ id, version: 1 }])
    expect(await routeOf(berth, session.id)).toMatchObject({
      vaults: [vault_id],
      egress: { placeholders: [{ secret_name: 'MY_TOKEN', placeholder }] },
    })

    await vaults.credentials.update(id, {
      vault_id,
      auth: { type: 'environment_variable', secret_value: `${CANARY}-2` },
    })
    const after = gatewayVault.parse(JSON.parse((await vaultFile(berth, vault_id)) ?? ''))
    expect(after.credentials).toMatchObject([{ id, version: 2 }])
    expect(before).not.toContain(after.credentials[0]?.sealed)

    // One more, whose host the environment does not allow: said once.
    const more = await vaults.credentials.create(vault_id, {
      auth: variable('OTHER', `${CANARY}-3`, 'api.other.example'),
    })
    const second = await look(berth, session.id)
    expect(second.env.get('MY_TOKEN')).toBe(placeholder)
    expect(second.env.get('OTHER')).toMatch(/^berth-placeholder-/)
    const { error } = onlyOf(second.turn, 'session.error')
    expect(error).toMatchObject({ type: 'credential_host_unreachable_error', vault_id, credential_id: more.id })
    expect(error.message).toContain('api.other.example')
    expect((await routeOf(berth, session.id)).egress?.placeholders).toHaveLength(2)

    const [rest] = ofType(second.turn, 'session.status_idle')
    const { session: forked } = await fork(berth, session.id, { event_id: rest?.id })
    berth.adopt(forked.id)
    expect(forked.vault_ids).toEqual([vault_id])

    await vaults.credentials.archive(id, { vault_id })
    const third = await look(berth, session.id)
    expect(third.env.has('MY_TOKEN')).toBe(false)
    expect(ofType(third.turn, 'session.error')).toEqual([])

    // Another session has another placeholder for the same.
    const other = await berth.createSession({ environment_id: environment.id, vault_ids: [vault_id] })
    expect((await look(berth, other.id)).env.get('OTHER')).not.toBe(third.env.get('OTHER'))
    await sessions.delete(other.id)

    expect(await filesWithCanary(berth.dir)).toBe('')
    expect(berth.server.log()).not.toContain(CANARY)
    await vaults.delete(vault_id)
    expect(await vaultFile(berth, vault_id)).toBeUndefined()
  },
  STORY_MS,
)

test(
  'the key is what the vaults were sealed with, and its owner’s alone, or there is no start',
  async () => {
    await using berth = await startKillableBerth()
    const { vaults } = berth.client.beta
    const { id } = await vaults.create({ display_name: 'Ada' })
    const made = await vaults.credentials.create(id, { auth: variable('MY_TOKEN', CANARY, 'api.example.com') })
    const right = await vaultFile(berth, id)
    const path = join(berth.dir, 'vault.key')
    const key = await readFile(path, 'utf8')

    await chmod(path, 0o644)
    await expect(berth.server.restart()).rejects.toThrow(/vault\.key: the file is open to others \(mode 0644\)/)
    await rm(path)
    await expect(berth.server.restart()).rejects.toThrow(/vault\.key: is missing/)
    await writeFile(path, randomBytes(32).toString('base64'), { mode: 0o600 })
    await expect(berth.server.restart()).rejects.toThrow(
      /not the one that the vaults of this database were sealed with/,
    )

    // The gateway has lived on; a server that comes back puts right what is not as it should be there.
    const gateway = openGatewayClient(join(berth.dir, 'gateway', 'control.sock'))
    await gateway.putVault(id, { workspace_id: 'wrkspc_default', credentials: [] })
    await gateway.putVault('vlt_nobodys', { workspace_id: 'wrkspc_default', credentials: [] })
    await writeFile(path, key)
    await berth.server.restart()
    expect(await vaultFile(berth, id)).toBe(right)
    expect(await vaultFile(berth, 'vlt_nobodys')).toBeUndefined()
    expect((await vaults.credentials.list(id)).data).toEqual([made])
    expect(await filesWithCanary(berth.dir)).toBe('')
    expect(berth.server.log()).not.toContain(key.trim())
  },
  STORY_MS,
)
