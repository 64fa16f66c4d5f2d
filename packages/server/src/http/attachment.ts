/** What holds a subscriber and its answer together: neither outlives the other for long, nor the key that the request came with. */
import type { ServerResponse } from 'node:http'
import type { Context } from 'hono'
import type { Subscription } from '../engine/feed.ts'
import type { AppEnv } from './context.ts'
import type { KeyWatch } from './key-watch.ts'

/** A reader that was let go for its slowness, or with its key, has this long to take the end of its stream. */
const LET_GO_MS = 1_000
/** One whose stream came to its own end still has something to read. */
const FINISHED_MS = 60_000

/** Disposing it ends the subscription. */
export function attach(c: Context<AppEnv>, keys: KeyWatch, subscription: Subscription): Disposable {
  const watched = keys.watch(c.var.keyId, () => subscription[Symbol.dispose]())
  void cutWhenEnded(subscription, watched, c.env.outgoing)
  return subscription
}

async function cutWhenEnded(
  subscription: Subscription,
  watched: Disposable,
  outgoing: ServerResponse | undefined,
): Promise<void> {
  await subscription.ended
  watched[Symbol.dispose]()
  cutUnlessRead(outgoing, subscription.end === 'finished' ? FINISHED_MS : LET_GO_MS)
}

function cutUnlessRead(outgoing: ServerResponse | undefined, ms: number): void {
  if (outgoing === undefined || outgoing.writableFinished || outgoing.destroyed) return
  const timer = setTimeout(() => outgoing.destroy(), ms)
  outgoing.once('close', () => clearTimeout(timer))
}
