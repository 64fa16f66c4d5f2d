/** What an engine needs around it when the runners are played by the test. */
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BerthError } from '@berth/protocol'
import type { GatewayClient } from '@berth/protocol/gateway-client'
import { Sealing } from '@berth/protocol/sealing'
import { listPrices } from '@berth/protocol/prices'
import { inside, type SandboxDriver, type SandboxRef } from '@berth/sandbox'
import type { Costs } from '../src/domain/costs.ts'

const nothing = () => Promise.resolve()

/** Takes routes and knows no usage. */
export const noGateway: GatewayClient = {
  health: () => Promise.reject(new Error('none')),
  shutdown: nothing,
  route: nothing,
  unroute: nothing,
  sessions: () => Promise.resolve([]),
  setBudget: nothing,
  putVault: nothing,
  removeVault: nothing,
  listVaults: () => Promise.resolve([]),
  validateCredential: () => Promise.reject(new Error('none')),
  sumUsage: () => Promise.resolve({ groups: [] }),
  usage: () => Promise.reject(new Error('none')),
  egress: (session_id) => Promise.resolve({ session_id, decisions: [], bytes_sent: 0, bytes_received: 0 }),
  authority: () => Promise.resolve({ certificate: '' }),
}

/** Under a key of its own. */
export const testSealing = new Sealing(randomBytes(32))

/** List prices and no limits. */
export const listCosts: Costs = { prices: listPrices, workspaceDailyLimit: undefined, sandboxHourUsd: 0.05 }

/** Sandboxes of nothing but their directory. */
export class Directories implements SandboxDriver {
  readonly name = 'directories'
  readonly capabilities = {
    list: true,
    diskQuota: false,
    suspend: false,
    snapshot: false,
    endpoint: false,
    exec: false,
    setNetworkPolicy: false,
    restart: false,
  }
  readonly refs = new Map<string, SandboxRef>()
  readonly destroyed: string[] = []
  /** Under which each call came, in order. */
  readonly epochs: (number | undefined)[] = []
  readonly #dir: string

  constructor(dir: string) {
    this.#dir = dir
  }

  check = () => Promise.resolve([])
  get = (id: string) => Promise.resolve(this.refs.get(id))
  list = () => Promise.resolve([...this.refs.values()])
  renew = nothing
  restart = () => Promise.reject(new BerthError('unsupported', 'restart'));
  [Symbol.asyncDispose] = nothing

  async create({ id, labels, epoch }: Parameters<SandboxDriver['create']>[0]): Promise<SandboxRef> {
    this.epochs.push(epoch)
    const runDir = join(this.#dir, String(this.destroyed.length + this.refs.size))
    await mkdir(dirname(linkOf(runDir)), { recursive: true })
    const ref = { id, labels, state: 'running', runDir, uidBase: process.getuid?.() ?? 0 } as const
    this.refs.set(id, ref)
    return ref
  }

  destroy(id: string, epoch?: number): Promise<void> {
    this.epochs.push(epoch)
    if (this.refs.delete(id)) this.destroyed.push(id)
    return Promise.resolve()
  }
}

/** Where the server listens for the runner of the sandbox. */
export function linkOf(runDir: string): string {
  return join(runDir, inside.link.slice(inside.run.length))
}
