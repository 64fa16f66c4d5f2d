/** Supervision of the gateway: it is a process of its own, and when it dies another takes its place on the same sockets and ledger. */
import { setTimeout as sleep } from 'node:timers/promises'
import { controlSocket, spawnGateway, type SpawnGateway } from '@berth/gateway'
import { untilGatewayEnds } from '@berth/protocol/gateway-end'
import type { Logger } from 'pino'

/** After a start that failed. */
const AGAIN_MS = 500

export interface GatewayKeeper extends AsyncDisposable {
  /** False: it was running already. */
  readonly started: boolean
}

/** Resolves when the gateway runs; looks after it until disposed. Disposing leaves it running. The signal gives up the start. */
export async function keepGateway(
  options: Omit<SpawnGateway, 'signal'>,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<GatewayKeeper> {
  const { started } = await spawnGateway({ ...options, signal })
  const stop = new AbortController()
  const watching = watch({ ...options, signal: stop.signal }, logger)
  return {
    started,
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await watching
    },
  }
}

async function watch(options: SpawnGateway & { readonly signal: AbortSignal }, logger: Logger): Promise<void> {
  const { signal } = options
  while (!signal.aborted) {
    try {
      await untilGatewayEnds(controlSocket(options.state), signal)
      const { started, pid } = await spawnGateway(options)
      if (started) logger.warn({ pid }, 'the gateway had ended and was started again')
    } catch (error) {
      if (signal.aborted) return
      logger.error({ err: error }, 'the gateway cannot be started')
      await sleep(AGAIN_MS, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}
