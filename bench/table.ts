import { type Aim, aimedAt, type Figure, isMet, quantile } from './measure.ts'

const HEAD = ['', 'unit', 'n', 'berth p50', 'p99', 'floor p50', 'p99', 'ratio', 'aim', '']

/** The figures as text in columns. */
export function table(figures: readonly Figure[]): string {
  const rows = [HEAD, ...figures.map(rowOf)]
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function rowOf(figure: Figure): string[] {
  const { what, unit, berth, floor, aim } = figure
  const hasFloor = floor.length > 0
  return [
    what,
    unit,
    String(berth.length),
    short(quantile(berth, 0.5)),
    short(quantile(berth, 0.99)),
    hasFloor ? short(quantile(floor, 0.5)) : '',
    hasFloor ? short(quantile(floor, 0.99)) : '',
    hasFloor ? (quantile(berth, 0.5) / quantile(floor, 0.5)).toFixed(2) : '',
    aim === undefined ? '' : aimText(aim),
    aim === undefined ? '' : `${short(aimedAt(figure, aim))} ${isMet(figure, aim) ? 'met' : 'MISSED'}`,
  ]
}

function aimText({ of, quantile: q = 0.5, atMost, atLeast }: Aim): string {
  const bound = atMost === undefined ? `≥ ${atLeast}` : `≤ ${atMost}`
  const what = { ratio: 'ratio', added: '+', value: '' }[of]
  return `p${q * 100} ${what}${what === '' ? '' : ' '}${bound}`
}

function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}
