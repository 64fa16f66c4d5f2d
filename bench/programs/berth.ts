/**
 * All of Berth on a data directory, in front of a given model: `berth.ts <data dir> <model url> <port> <log level>`. Ends, with everything
 * that belongs to it, when its stdin does.
 */
import { once } from 'node:events'
import { join } from 'node:path'
import { startBerth } from '@berth/cli/start'
import { destination, pino } from 'pino'

const [dataDir = '', upstreamUrl = '', port = '', level = ''] = process.argv.slice(2)
const logger = pino({ level }, destination({ dest: join(dataDir, 'berth.log'), mkdir: true, sync: true }))
const upstream = { ANTHROPIC_BASE_URL: upstreamUrl, ANTHROPIC_API_KEY: 'scripted' }
const running = await startBerth(
  { dataDir, host: '127.0.0.1', port: Number(port), model: 'anthropic', upstream },
  { logger, signal: new AbortController().signal },
)
process.stdout.write(`${JSON.stringify({ url: running.url, apiKey: running.apiKey.value })}\n`)
await once(process.stdin.resume(), 'end')
await running.close({ everything: true })
process.exit()
