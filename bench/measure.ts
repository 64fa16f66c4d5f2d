/** What a bench hands back, and what is made of it. */

/** One line of the table: something of Berth's, and beside it the floor measured in the same run, the two taking turns. */
export interface Figure {
  readonly what: string
  readonly unit: 'ms' | 'MiB' | 'MB/s' | 'KiB' | 'count'
  readonly berth: readonly number[]
  /** Empty where there is no floor. */
  readonly floor: readonly number[]
  readonly aim?: Aim
}

/**
 * `ratio`: Berth's quantile over the floor's. `added`: their difference. `value`: Berth's own. `quantile` is 0.5 if not said.
 */
export interface Aim {
  readonly of: 'ratio' | 'added' | 'value'
  readonly quantile?: number
  readonly atMost?: number
  readonly atLeast?: number
}

export interface BenchOptions {
  /** How often each side is measured where one measurement takes about a second; others scale from it. */
  readonly rounds: number
  /** A line about what is going on. */
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}

export interface Bench {
  readonly name: string
  readonly about: string
  run(options: BenchOptions): Promise<Figure[]>
}

/** Linear interpolation between the two nearest ranks. NaN for no values. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

/** The number that the aim is about. */
export function aimedAt({ berth, floor }: Figure, aim: Aim): number {
  const q = aim.quantile ?? 0.5
  const own = quantile(berth, q)
  switch (aim.of) {
    case 'ratio':
      return own / quantile(floor, q)
    case 'added':
      return own - quantile(floor, q)
    case 'value':
      return own
    default:
      return aim.of satisfies never
  }
}

export function isMet(figure: Figure, aim: Aim): boolean {
  const value = aimedAt(figure, aim)
  return value <= (aim.atMost ?? Number.POSITIVE_INFINITY) && value >= (aim.atLeast ?? Number.NEGATIVE_INFINITY)
}

/** Runs all of them in turn, so that what else the machine does hits them alike; the order turns round each time. */
export async function interleave(rounds: number, sides: readonly (() => Promise<void>)[]): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? sides : sides.toReversed()
    for (const side of order) await side()
  }
}

/** Slope of the least squares line through the values at 1, 2, 3… */
export function slope(values: readonly number[]): number {
  const meanX = (values.length + 1) / 2
  const meanY = values.reduce((sum, value) => sum + value, 0) / values.length
  let above = 0
  let below = 0
  for (const [index, value] of values.entries()) {
    above += (index + 1 - meanX) * (value - meanY)
    below += (index + 1 - meanX) ** 2
  }
  return above / below
}
