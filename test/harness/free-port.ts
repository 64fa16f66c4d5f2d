/** A port for a server that is to have it again after it was away. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Below those that the kernel gives to whoever names none: nobody takes it meanwhile. */
const [FIRST, COUNT] = [16_000, 16_000]
const MAX_TRIES = 100

/** One of this machine on which nobody listens. */
export async function freePort(): Promise<number> {
  for (let n = 0; n < MAX_TRIES; n++) {
    const port = FIRST + Math.floor(Math.random() * COUNT)
    if (await isFree(port)) return port
  }
  throw new Error(`none of ${MAX_TRIES} ports below the kernel's own is free`)
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
