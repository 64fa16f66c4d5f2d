/** The pages of the documentation, as the tests read them. */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '../..')

export function readPage(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** What stands below a heading, up to the next one of any level. Throws when there is no such heading. */
export function sectionOf(page: string, heading: string): string {
  const lines = page.split('\n')
  const start = lines.indexOf(heading)
  if (start === -1) throw new Error(`the page has no heading "${heading}"`)
  let isCode = false
  const end = lines.findIndex((line, index) => {
    if (index <= start) return false
    if (line.startsWith('```')) isCode = !isCode
    return !isCode && /^#+ /.test(line)
  })
  return lines.slice(start + 1, end === -1 ? undefined : end).join('\n')
}

/** The cells of every table row, without the rows of titles; `\|` is a bar within a cell. */
export function rowsOf(text: string): string[][] {
  const tables = text.match(/(?:^\|.*\n?)+/gm) ?? []
  return tables.flatMap((table) => table.trimEnd().split('\n').slice(2).map(cellsOf))
}

function cellsOf(line: string): string[] {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1)
  return cells.map((cell) => cell.trim().replaceAll(String.raw`\|`, '|'))
}

/** The texts of the code blocks that are marked as this language. */
export function blocksOf(page: string, language: string): string[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].flatMap(([, name, text]) =>
    name === language && text !== undefined ? [text] : [],
  )
}

/** `x` of a cell that holds `` `x` ``. */
export function codeIn(cell: string): string {
  return cell.replaceAll('`', '')
}
