/** The trap world as tests use it: sessions to be made in it, requests to be sent, and what its traps have seen. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { EgressPolicy, SessionBudget } from '@berth/protocol/gateway'
import { type GatewayClient, openGatewayClient } from '@berth/protocol/gateway-client'
import { afterAll, beforeAll, beforeEach, expect } from 'vitest'
import { z } from 'zod'
import { Tally } from '../tally.ts'
import { Talk } from './talk.ts'

export const limited: EgressPolicy = {
  type: 'limited',
  hosts: ['allowed.test', '*.wild.test', 'rebind.test', 'broken.test', 'rogue.test'],
}
export const unrestricted: EgressPolicy = { type: 'unrestricted' }
const seen = z.object({ hits: z.array(z.string()), asked: z.array(z.string()), reached: z.array(z.string()) })
export type Seen = z.infer<typeof seen>
const visit = z.object({ text: z.string(), received: z.int(), written: z.int(), isOpen: z.boolean() })
export type Visit = z.infer<typeof visit>

export const passwords = { a: 'a'.repeat(43), b: 'b'.repeat(43) } as const
export type Name = keyof typeof passwords

export const auth = (name: Name = 'a'): string =>
  `Proxy-Authorization: Basic ${Buffer.from(`x:${passwords[name]}`).toString('base64')}\r\n`
export const get = (host: string, named = host): string =>
  `GET http://${host}/ HTTP/1.1\r\nHost: ${named}\r\n${auth()}Connection: close\r\n\r\n`
export const tunnelTo = (authority: string): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${auth()}\r\n`
export const bothWays = (hosts: readonly string[]): string[] =>
  hosts.flatMap((host) => [get(host), tunnelTo(`${host}:443`), tunnelTo(`${host}:80`)])

interface Given {
  readonly credential?: string
  readonly budget?: SessionBudget | null
}

export interface Sent {
  readonly status: number
  readonly socket: Socket
  readonly answer: string
}

class TrapWorld {
  #dir = ''
  #end: () => Promise<void> = () => Promise.resolve()
  #gateway: GatewayClient | undefined
  readonly #tally = new Tally('egress')

  get gateway(): GatewayClient {
    if (this.#gateway === undefined) throw new Error('the world has not begun')
    return this.#gateway
  }

  async begin(): Promise<void> {
    this.#dir = await mkdtemp(join(tmpdir(), 'tr-'))
    const program = join(import.meta.dirname, 'world.ts')
    const world = spawn('unshare', ['--net', process.execPath, program, this.#dir], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#end = async () => {
      const exited = once(world, 'exit')
      world.stdin.end()
      await exited
      await rm(this.#dir, { recursive: true, force: true })
    }
    const [said] = await Promise.race([once(world.stdout, 'data'), once(world, 'exit')])
    expect(String(said)).toContain('ready')
    this.#gateway = openGatewayClient(join(this.#dir, 'state/control.sock'))
  }

  /** Prints what was tried; fails when something was not held, or a trap was hit once. */
  async end(): Promise<void> {
    const { hits } = await this.look()
    await this.#end()
    expect(hits).toEqual([])
    this.#tally.end()
  }

  /** One more was tried. */
  count(hasHeld: boolean): void {
    this.#tally.count(hasHeld)
  }

  async route(policy: EgressPolicy, name: Name = 'a', given: Given = {}): Promise<void> {
    const { credential = passwords[name], budget = null } = given
    const at = (file: string): string => join(this.#dir, name, file)
    await mkdir(at(''), { recursive: true })
    const owner_uid = process.getuid?.() ?? 0
    const egress = { socket_path: at('egress.sock'), owner_uid, credential, policy }
    const model = { socket_path: at('model.sock'), owner_uid, models: null, server_tools: [] }
    await this.gateway.route(`sesn_${name}`, { workspace_id: 'ws', agent_id: 'agent', budget, ...model, egress })
  }

  async look(): Promise<Seen> {
    return seen.parse(await this.#ask('/'))
  }

  /** What the traps see of a connection that is made without the gateway. */
  async eyes(): Promise<string[]> {
    return z.array(z.string()).parse(await this.#ask('/eyes'))
  }

  /** Every connection to `rogue.test`, in order. */
  async visits(): Promise<Visit[]> {
    return z.array(visit).parse(await this.#ask('/visits'))
  }

  /** As the kernel does it: at once. */
  async killGateway(): Promise<void> {
    await this.#ask('/kill')
  }

  /** Resolves when it listens. */
  async startGateway(): Promise<void> {
    await this.#ask('/start')
  }

  /** Of the gateway: bytes of memory that it has, and how many files and sockets are open. */
  async weight(): Promise<{ memory: number; files: number }> {
    const { pid } = await this.gateway.health()
    const status = await readFile(`/proc/${pid}/status`, 'utf8')
    const memory = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024
    return { memory, files: (await readdir(`/proc/${pid}/fd`)).length }
  }

  talk(name: Name = 'a'): Promise<Talk> {
    return Talk.open(this.path(name, 'egress.sock'))
  }

  /** In the world's directory. */
  path(...parts: string[]): string {
    return join(this.#dir, ...parts)
  }

  async #ask(path: string): Promise<unknown> {
    const asked = request({ socketPath: join(this.#dir, 'report.sock'), path }).end()
    const [response] = await once(asked, 'response')
    return JSON.parse(await text(response))
  }

  /** What comes back until the end, or until there is a whole head. */
  send(bytes: string | Buffer, name: Name = 'a'): Promise<Sent> {
    return new Promise((resolve) => {
      let answer = ''
      const sent = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
      const socket = connect(join(this.#dir, name, 'egress.sock'), () => socket.write(sent))
      const done = (): void => {
        resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0), socket, answer })
      }
      socket.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1')
        if (answer.includes('\r\n\r\n')) done()
      })
      socket.on('error', done).on('close', done)
    })
  }

  /** Each is refused; nothing is dialled, and unless it says otherwise nothing is looked up. */
  async allRefused(attempts: readonly (string | Buffer)[], { lookups = 0 }: { lookups?: number } = {}): Promise<void> {
    const before = await this.look()
    const passed: string[] = []
    for (const bytes of attempts) {
      const { status, socket } = await this.send(bytes)
      socket.destroy()
      const isRefused = status >= 400 || status === 0
      this.count(isRefused)
      if (!isRefused) passed.push(`${status} for ${JSON.stringify(String(bytes))}`)
    }
    const after = await this.look()
    expect(passed).toEqual([])
    expect(after.hits).toEqual([])
    expect(after.reached).toEqual(before.reached)
    expect(new Set(after.asked.slice(before.asked.length)).size).toBe(lookups)
  }
}

/** One for the file; the session `a` has the policy `limited` before every test. */
export function trapWorld(): TrapWorld {
  const world = new TrapWorld()
  beforeAll(() => world.begin())
  beforeEach(() => world.route(limited))
  afterAll(() => world.end())
  return world
}
