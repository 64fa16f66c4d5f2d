/** `forwarder.ts <socket>`: the runner's port for a way out, in a process of its own. Ends when its stdin does. */
import { once } from 'node:events'
import { EgressForwarder } from '@berth/runner/egress-forwarder'

const [socket = ''] = process.argv.slice(2)
const forwarder = await EgressForwarder.open(socket)
process.stdout.write(`${JSON.stringify({ port: forwarder.port })}\n`)
await once(process.stdin.resume(), 'end')
process.exit()
