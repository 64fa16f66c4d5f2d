import { channelPath } from '@berth/protocol/channel-constants'
import { watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where the link leads: what to hand to `ws`, and the socket's path when it is a unix socket. */
export interface LinkAddress {
  readonly url: string
  readonly socketPath: string | undefined
}

/** Reads `unix:/path` or `ws(s)://…`. Throws for anything else. */
export function parseLinkAddress(text: string): LinkAddress {
  if (text.startsWith('unix:/')) {
    const socketPath = text.slice('unix:'.length)
    return { url: `ws+unix:${socketPath}:/`, socketPath }
  }
  const url = URL.parse(text)
  if (url?.protocol === 'ws:' || url?.protocol === 'wss:') return { url: text, socketPath: undefined }
  throw new Error(`the link's address must be unix:/path or a ws or wss URL, not "${text}"`)
}

/** Where a channel leads: what to hand to `ws`. */
export function channelUrl({ url, socketPath }: LinkAddress, id: string): string {
  if (socketPath !== undefined) return `ws+unix:${socketPath}:${channelPath(id)}`
  const channel = new URL(url)
  channel.pathname = channel.pathname.replace(/\/$/, '') + channelPath(id)
  return channel.href
}

const FIRST_DELAY_MS = 20
const LAST_DELAY_MS = 1_000

/** Pause before the n-th dial in a row (from 0): doubling up to a second, a fifth of it random. */
export function redialDelay(attempt: number): number {
  const delay = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10))
  return delay * (0.8 + Math.random() * 0.2)
}

/** Waits out the pause, or less when something happens to the socket's file. Returns early, without throwing, when aborted. */
export async function pauseBeforeRedial(address: LinkAddress, ms: number, signal: AbortSignal): Promise<void> {
  const early = new AbortController()
  const watcher = watchSocket(address.socketPath, () => early.abort())
  try {
    await sleep(ms, undefined, { signal: AbortSignal.any([signal, early.signal]) })
  } catch {
    // Woken: by the file, or to end.
  } finally {
    watcher?.close()
  }
}

function watchSocket(path: string | undefined, onChange: () => void) {
  if (path === undefined) return undefined
  const name = basename(path)
  try {
    const watcher = watch(dirname(path), (_event, file) => {
      if (file === name) onChange()
    })
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    // The directory is not there yet; the pause is short enough.
    return undefined
  }
}
