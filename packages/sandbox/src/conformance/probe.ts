import { chmod, chown, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { inside } from '../driver.ts'
import type { SandboxRef } from '../driver.ts'

/** Host path of the program that the driver under test launches as the runner. */
export const probeRunner = fileURLToPath(new URL('probe-runner.mjs', import.meta.url))

const outcome = z.object({
  n: z.int(),
  code: z.int().nullable(),
  signal: z.string().nullable(),
  stdout: z.string(),
  stderr: z.string(),
})

/** How a program in the sandbox ended. `lost`: the sandbox ended before it. */
export type ProbeOutcome = Omit<z.infer<typeof outcome>, 'n'> | 'lost'

/**
 * The test's end of a sandbox's link. A function given to it is sent as its own text and run there: it may use nothing from around
 * it, gets built-in modules by `process.getBuiltinModule`, and answers with JSON.
 */
export class Probe implements AsyncDisposable {
  readonly #server: Server
  readonly #waiting = new Map<number, (outcome: ProbeOutcome) => void>()
  #socket = Promise.withResolvers<Socket>()
  #count = 0

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => this.#accept(socket))
  }

  /** Listens where the runner of this sandbox dials. */
  static async listen(ref: SandboxRef): Promise<Probe> {
    if (ref.runDir === undefined || ref.uidBase === undefined) throw new Error('the suite needs runDir and uidBase')
    const path = join(ref.runDir, inside.link.slice(inside.run.length))
    await rm(path, { force: true })
    const server = createServer()
    const probe = new Probe(server)
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
    await chmod(path, 0o600)
    await chown(path, ref.uidBase, ref.uidBase)
    return probe
  }

  /** Runs it as the sandbox's first agent. */
  agent<A extends readonly unknown[], R>(program: (...args: A) => R, ...args: A): Promise<Awaited<R>> {
    return this.#result<Awaited<R>>(inside.firstUid, program.toString(), args)
  }

  /** Runs it with the runner's own uid and rights. */
  runner<A extends readonly unknown[], R>(program: (...args: A) => R, ...args: A): Promise<Awaited<R>> {
    return this.#result<Awaited<R>>(0, program.toString(), args)
  }

  /** As `agent`, for programs that are expected to come to a bad end. */
  agentOutcome<A extends readonly unknown[]>(program: (...args: A) => unknown, ...args: A): Promise<ProbeOutcome> {
    return this.#run(inside.firstUid, program.toString(), args)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.promise.then((socket) => socket.destroy()).catch(() => {})
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #result<R>(uid: number, source: string, args: readonly unknown[]): Promise<R> {
    const end = await this.#run(uid, source, args)
    if (end === 'lost') throw new Error('the sandbox ended')
    if (end.code !== 0) throw new Error(`the probe ended with ${end.code ?? end.signal}: ${end.stderr}`)
    // What the test's own function returned, as JSON carries it.
    const value: R = JSON.parse(end.stdout)
    return value
  }

  async #run(uid: number, source: string, args: readonly unknown[]): Promise<ProbeOutcome> {
    const socket = await this.#socket.promise
    const n = ++this.#count
    return new Promise((resolve) => {
      this.#waiting.set(n, resolve)
      socket.write(`${JSON.stringify({ n, uid, source, args })}\n`)
    })
  }

  #accept(socket: Socket): void {
    this.#socket.resolve(socket)
    const lines = createInterface({ input: socket }).on('error', () => {})
    lines.on('line', (line) => {
      const { n, ...end } = outcome.parse(JSON.parse(line))
      this.#waiting.get(n)?.(end)
      this.#waiting.delete(n)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#socket = Promise.withResolvers()
      for (const resolve of this.#waiting.values()) resolve('lost')
      this.#waiting.clear()
    })
  }
}
