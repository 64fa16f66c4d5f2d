import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { berth } from '@berth/cli/program'
import { describe, expect, it } from 'vitest'
import { packages } from '../architecture/rules.ts'
import { readTree } from '../architecture/tree.ts'
import { blocksOf, codeIn, readPage, root, rowsOf, sectionOf } from './page.ts'

const tree = readTree()
const paths = new Set(tree.map(({ path }) => path))
const pages = tree.filter(({ path }) => path.endsWith('.md'))

const withoutBlocks = (text: string): string => text.replaceAll(/^```[\s\S]*?^```$/gm, '')

/** What an agent's workspace has, by a name that is no file of ours. */
const ofWorkspaces = /(?:^|\/)(?:CLAUDE|CLAUDE\.local|SKILL)\.md$/

/** A file, or a folder that holds one. */
const isThere = (path: string): boolean =>
  paths.has(path) || [...paths].some((known) => known.startsWith(`${path.replace(/\/$/, '')}/`))

describe.each(pages)('$path', ({ path, text }) => {
  it('links to what is there', () => {
    const targets = [...withoutBlocks(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
    const broken = targets.filter((target) => {
      if (target.startsWith('https:')) return false
      const [file = '', anchor] = target.split('#')
      const aim = file === '' ? path : normalize(join(dirname(path), file))
      return !isThere(aim) || (anchor !== undefined && !anchorsOf(readPage(aim)).includes(anchor))
    })
    expect(broken).toEqual([])
  })

  it('names paths that are there', () => {
    const spans = [...withoutBlocks(text).matchAll(/`([^`\s]+)`/g)].map(([, span = '']) => span)
    const whole = spans.filter((span) => /^(?:packages|test|docs|script|bin|bench|\.ci)\/[\w./-]*$/.test(span))
    const files = spans.filter((span) => /^[\w./-]+\.(?:ts|sql|sh|md)$/.test(span) && !ofWorkspaces.test(span))
    const short = files.filter((span) => !whole.includes(span))
    const missing = whole.filter((span) => !isThere(span))
    const unknown = short.filter((span) => !paths.has(span) && ![...paths].some((known) => known.endsWith(`/${span}`)))
    expect([...missing, ...unknown]).toEqual([])
  })
})

/** As GitHub makes them of headings. */
function anchorsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
}

const program = berth({
  env: {},
  stdin: new PassThrough(),
  stdout: new PassThrough(),
  stderr: new PassThrough(),
  signals: new EventEmitter(),
  setExitCode: () => undefined,
  endNow: () => undefined,
})

it.each(['README.md', 'CONTRIBUTING.md'])('%s has commands that exist', (path) => {
  const lines = blocksOf(readPage(path), 'bash').flatMap((block) => block.trimEnd().split('\n'))
  expect(lines.length).toBeGreaterThan(3)
  expect(lines.filter((line) => !isKnown(line))).toEqual([])
})

function isKnown(line: string): boolean {
  const [command = '', ...words] = line.split(' ')
  if (command === 'export') return true
  if (command !== 'bin/berth') return existsSync(join(root, command)) && isThere(command)
  let at: typeof program | undefined = program
  while (at !== undefined && at.commands.length > 0) {
    const name = words.shift()
    at = at.commands.find((below) => below.name() === name)
  }
  const flags = at?.options.map(({ long }) => long) ?? []
  return at !== undefined && words.filter((word) => word.startsWith('--')).every((word) => flags.includes(word))
}

it('ARCHITECTURE.md shows the import table as it is', () => {
  const rows = rowsOf(sectionOf(readPage('ARCHITECTURE.md'), '## Packages')).map(
    ([name = '', , ours = '', npm = '']) => ({
      name: codeIn(name),
      ours: namesIn(ours),
      npm: namesIn(npm.replace(' (types)', '')),
    }),
  )
  const rules = Object.entries(packages).map(([name, { ours, npm }]) => ({ name, ours: [...ours], npm: [...npm] }))
  const present = new Set(readdirSync(join(root, 'packages')))
  expect(rows).toEqual(rules.filter(({ name }) => present.has(name)))
})

function namesIn(cell: string): string[] {
  return cell === '–' ? [] : cell.split(', ')
}
