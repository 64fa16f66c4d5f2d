import { neutraliseLine } from './neutralise.ts'
import type { Screen } from './screen.ts'

/**
 * Rows under a header: aligned and cut to the width on a terminal; tab-separated, whole and without the header elsewhere.
 * Cells may hold foreign text. On a terminal the last column gets what room is left.
 */
export function printTable(screen: Screen, header: readonly string[], rows: readonly (readonly string[])[]): void {
  const clean = rows.map((row) => row.map(neutraliseLine))
  if (!screen.isTerminal) {
    for (const row of clean) screen.line(row.join('\t'))
    return
  }
  const widths = header.map((title, column) => Math.max(title.length, ...clean.map((row) => row[column]?.length ?? 0)))
  const render = (row: readonly string[]): string =>
    cut(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
      screen.width,
    )
  screen.line(screen.paint('dim', render(header)))
  for (const row of clean) screen.line(render(row))
}

/** At most `width` characters; what is cut ends in an ellipsis. */
export function cut(text: string, width: number): string {
  if (text.length <= width) return text
  const characters = Array.from(text)
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`
}
