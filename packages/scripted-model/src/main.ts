import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { startScriptedModel, type ScriptedModelOptions } from './server.ts'

/** `127.0.0.1:0`, `[::1]:8080` or a path for a unix socket. */
function parseListen(text: string): ScriptedModelOptions['listen'] {
  if (text.startsWith('/')) return { path: text }
  const [, v6, host, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text) ?? []
  const name = v6 ?? host
  if (name === undefined || port === undefined || Number(port) > 65_535) {
    throw new Error(`--listen: expected host:port or an absolute path, got ${JSON.stringify(text)}`)
  }
  return { host: name, port: Number(port) }
}

const { values } = parseArgs({
  options: { listen: { type: 'string', default: '127.0.0.1:0' }, 'with-stdin': { type: 'boolean', default: false } },
})

const model = await startScriptedModel({ listen: parseListen(values.listen) })
const ends = [once(process, 'SIGTERM'), once(process, 'SIGINT')]
if (values['with-stdin']) ends.push(once(process.stdin.resume(), 'end'))
process.stdout.write(`${JSON.stringify({ url: model.url })}\n`)
await Promise.race(ends)
await model[Symbol.asyncDispose]()
process.stdin.destroy()
