/** Berth's server in a process of its own, which can be killed and started again. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { controlSocket } from '@berth/gateway'
import { openGatewayClient } from '@berth/protocol/gateway-client'
import { z } from 'zod'
import { type Child, startChild } from './child.ts'

export type LogLevel = 'warn' | 'info' | 'debug'

export interface ServerSettings {
  readonly dataDir: string
  readonly modelUrl: string
  readonly logLevel: LogLevel
}

const program = fileURLToPath(new URL('./programs/berth.ts', import.meta.url))
const ready = z.object({ url: z.string(), apiKey: z.string() })

export class ServerProcess implements AsyncDisposable {
  readonly #settings: ServerSettings
  #child: Child<z.infer<typeof ready>>
  #isKilled = false

  static async start(settings: ServerSettings): Promise<ServerProcess> {
    return new ServerProcess(settings, await launch(settings, 0))
  }

  private constructor(settings: ServerSettings, child: Child<z.infer<typeof ready>>) {
    this.#settings = settings
    this.#child = child
  }

  get pid(): number {
    return this.#child.pid
  }

  get url(): string {
    return this.#child.ready.url
  }

  get apiKey(): string {
    return this.#child.ready.apiKey
  }

  /** Resolves when the process is gone; gateway and sandboxes live on. */
  async kill(): Promise<void> {
    this.#isKilled = true
    await this.#child.kill()
  }

  /** Another process on the same data and port. Resolves when requests are answered. */
  async startAgain(): Promise<void> {
    this.#child = await launch(this.#settings, Number(new URL(this.url).port))
    this.#isKilled = false
  }

  /** Ends gateway and sandboxes with it, whether or not the server runs now. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isKilled) await this.startAgain()
    await this.#child[Symbol.asyncDispose]()
  }
}

function launch({ dataDir, modelUrl, logLevel }: ServerSettings, port: number): Promise<Child<z.infer<typeof ready>>> {
  return startChild([program, dataDir, modelUrl, String(port), logLevel], ready)
}

/** Of the gateway that runs now. */
export async function gatewayPid(dataDir: string): Promise<number> {
  return (await openGatewayClient(controlSocket(join(dataDir, 'gateway'))).health()).pid
}
