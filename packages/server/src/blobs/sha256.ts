import { hash } from 'node:crypto'

/** Up to here it takes less time than handing the work to another thread. */
const SMALL = 32 * 1024

/** In hex. Larger pieces are hashed beside the event loop. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  if (bytes.length <= SMALL) return hash('sha256', bytes)
  return Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex')
}
