/** A port for a server that is to have it again after it was away. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that the kernel gives to whoever names none: nobody takes it meanwhile. */
const [FIRST, COUNT] = [16_000, 16_000]

/** One of this machine on which nobody listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    if (await isFree(port)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
