/** The two ways in which a test has a server: in its own process, or as a process of its own that can be killed. */
import { readApiKey } from '@berth/cli'
import { startBerth } from '@berth/cli/start'
import { pino } from 'pino'
import { BerthProcess, type Ended } from '../../packages/cli/test/berth-process.ts'
import { freePort } from './free-port.ts'
import { waitUntil } from './wait-until.ts'

export interface ServerConfig {
  readonly dataDir: string
  /** Base URL of the model API. */
  readonly modelUrl: string
  /** Further variables of the server's environment; these win. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

export interface BerthServer {
  readonly url: string
  readonly apiKey: string
  /** Drains and stops the server; its sandboxes live on. Safe to repeat. */
  stop(): Promise<void>
  /** What the server wrote to its log so far. */
  log(): string
}

const MODEL_KEY = 'scripted'
const START_MS = 50_000

export async function startServerHere({ dataDir, modelUrl, env }: ServerConfig): Promise<BerthServer> {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const running = await startBerth(
    { dataDir, host: '127.0.0.1', port: 0, model: 'anthropic', upstream: { ...upstream(modelUrl), ...env } },
    { logger, signal: AbortSignal.timeout(START_MS) },
  )
  let stopped: Promise<void> | undefined
  return {
    url: running.url,
    apiKey: running.apiKey.value,
    stop: () => (stopped ??= running.close()),
    log: () => lines.join(''),
  }
}

/** `bin/berth serve`. Keeps its port when it is started again. */
export class ServerProcess implements BerthServer {
  readonly #config: ServerConfig
  readonly #port: number
  #process: BerthProcess
  #log = ''
  #url = ''
  #apiKey = ''

  static async start(config: ServerConfig): Promise<ServerProcess> {
    const server = new ServerProcess(config, await freePort())
    try {
      await server.#ready()
      return server
    } catch (error) {
      await server.kill()
      throw error
    }
  }

  private constructor(config: ServerConfig, port: number) {
    this.#config = config
    this.#port = port
    this.#process = launch(config, port)
  }

  get url(): string {
    return this.#url
  }

  get apiKey(): string {
    return this.#apiKey
  }

  /** Of the process that runs now. */
  get pid(): number {
    return this.#process.pid
  }

  log(): string {
    return this.#log + this.#process.err
  }

  /** Ends the process at once and waits until it is gone; gateway and sandboxes live on. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Ended> {
    this.#process.signal(signal)
    return await this.#process.ended
  }

  async stop(): Promise<void> {
    await this.kill('SIGTERM')
  }

  /** Starts it again on the same data and port; resolves when it answers. */
  async restart(): Promise<void> {
    await this.kill()
    this.#log = this.log()
    this.#process = launch(this.#config, this.#port)
    await this.#ready()
  }

  async #ready(): Promise<void> {
    const started = this.#process
    let ended: Ended | undefined
    void started.ended.then((end) => (ended = end))
    const find = (): string | undefined => {
      if (ended !== undefined) throw new Error(`berth serve ended with ${ended.code}: ${ended.err}`)
      return /berth ready on (\S+)/.exec(started.out)?.[1]
    }
    this.#url = await waitUntil('berth serve is ready', find, AbortSignal.timeout(START_MS)).catch((error: unknown) => {
      throw new Error(`berth serve is not ready; it says: ${started.out}${started.err}`, { cause: error })
    })
    this.#apiKey = (await readApiKey(this.#config.dataDir)) ?? ''
  }
}

function launch({ dataDir, modelUrl, env }: ServerConfig, port: number): BerthProcess {
  const args = ['serve', '--data-dir', dataDir, '--listen', `127.0.0.1:${port}`, '--model', 'anthropic']
  return new BerthProcess(args, { ...upstream(modelUrl), ...env })
}

function upstream(modelUrl: string): Record<string, string> {
  return { ANTHROPIC_BASE_URL: modelUrl, ANTHROPIC_API_KEY: MODEL_KEY }
}
