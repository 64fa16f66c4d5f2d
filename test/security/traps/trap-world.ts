/** The trap world as tests use it: sessions to be made in it, requests to be sent, and what its traps have seen. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { EgressPolicy } from '@berth/protocol/gateway'
import { type GatewayClient, openGatewayClient } from '@berth/protocol/gateway-client'
import { afterAll, beforeAll, beforeEach, expect } from 'vitest'
import { z } from 'zod'

export const limited: EgressPolicy = {
  type: 'limited',
  hosts: ['allowed.test', '*.wild.test', 'rebind.test', 'broken.test'],
}
export const unrestricted: EgressPolicy = { type: 'unrestricted' }
const seen = z.object({ hits: z.array(z.string()), asked: z.array(z.string()), reached: z.array(z.string()) })
export type Seen = z.infer<typeof seen>

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

export interface Sent {
  readonly status: number
  readonly socket: Socket
  readonly answer: string
}

class TrapWorld {
  #dir = ''
  #end: () => Promise<void> = () => Promise.resolve()
  #gateway: GatewayClient | undefined
  #tried = 0
  #held = 0

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

  /** Prints what was tried; fails when a trap was hit once. */
  async end(): Promise<void> {
    const { hits } = await this.look()
    process.stdout.write(`egress: tried ${this.#tried}, held ${this.#held}, traps hit ${hits.length}\n`)
    await this.#end()
    expect(hits).toEqual([])
    expect(this.#held).toBe(this.#tried)
  }

  /** One more was tried. */
  count(hasHeld: boolean): void {
    this.#tried++
    if (hasHeld) this.#held++
  }

  async route(policy: EgressPolicy, name: Name = 'a'): Promise<void> {
    const at = (file: string): string => join(this.#dir, name, file)
    await mkdir(at(''), { recursive: true })
    const owner_uid = process.getuid?.() ?? 0
    const egress = { socket_path: at('egress.sock'), owner_uid, credential: passwords[name], policy }
    const model = { socket_path: at('model.sock'), owner_uid, models: null, server_tools: [] }
    await this.gateway.route(`sesn_${name}`, { workspace_id: 'ws', agent_id: 'agent', budget: null, ...model, egress })
  }

  async look(): Promise<Seen> {
    return seen.parse(await this.#ask('/'))
  }

  /** What the traps see of a connection that is made without the gateway. */
  async eyes(): Promise<string[]> {
    return z.array(z.string()).parse(await this.#ask('/eyes'))
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
