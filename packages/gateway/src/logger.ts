import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** Never written, wherever they come from. */
const redacted = ['headers', 'rawHeaders', 'authorization', 'apiKey', 'key', 'body', 'env'].flatMap((name) => [
  name,
  `*.${name}`,
])

/** One JSON line per entry. `scrub` sees every line last, so that a secret inside an error's text does not pass either. */
export function createLogger(scrub: (text: string) => string, destination: DestinationStream): Logger {
  return pino(
    {
      name: 'gateway',
      redact: redacted,
      timestamp: pino.stdTimeFunctions.isoTime,
      hooks: { streamWrite: (line) => scrub(line) },
    },
    destination,
  )
}
