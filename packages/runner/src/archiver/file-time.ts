const SECOND = 1_000_000_000n

/** What `utimes` of node takes: seconds. Negative ones it takes as text only. */
export function settable(nanoseconds: bigint): number | string {
  const seconds = asSeconds(nanoseconds)
  return seconds < 0 ? String(seconds) : seconds
}

/**
 * The time that node can set and that is nearest, nanoseconds: it takes seconds as a floating point number, which is exact to about a tenth of
 * a microsecond. Saved like that, a time is the same after a restore, and the tree's segments too.
 */
export function keepable(nanoseconds: bigint): bigint {
  const time = asSeconds(nanoseconds)
  let seconds = Math.trunc(time)
  let rest = Math.trunc((time - seconds) * 1e9)
  if (rest < 0) {
    seconds -= 1
    rest += 1e9
  }
  return BigInt(seconds) * SECOND + BigInt(rest)
}

function asSeconds(nanoseconds: bigint): number {
  const seconds = nanoseconds / SECOND
  return Number(seconds) + Number(nanoseconds - seconds * SECOND) / 1e9
}
