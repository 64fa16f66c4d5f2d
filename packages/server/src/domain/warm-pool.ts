/** What warm pools come to: how many sandboxes each environment keeps started, and which session one of them is good for. */
import type { EnvironmentConfig } from '@berth/protocol/api/environment'
import type { WarmPool } from '@berth/protocol/api/warm-pool'

export const noWarmPool: WarmPool = { size: 0, agent: null }

/** What each pool may keep where all of them together may keep `limit`: one more for each in turn, in order, until nothing is left. */
export function sharesOf(sizes: readonly number[], limit: number): number[] {
  const shares = sizes.map(() => 0)
  for (let left = limit; left > 0;) {
    const before = left
    for (const [index, size] of sizes.entries()) {
      const share = shares[index] ?? 0
      if (share === size || left === 0) continue
      shares[index] = share + 1
      left -= 1
    }
    if (left === before) break
  }
  return shares
}

/** Equal for configurations whose sandboxes are made alike. */
export function sandboxKind({ berth }: EnvironmentConfig): string {
  const { driver, image, resources } = berth
  return JSON.stringify({ driver, image, resources })
}
