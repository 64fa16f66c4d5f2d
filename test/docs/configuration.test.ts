import { type Setting, settings } from '@berth/server/settings'
import { expect, it } from 'vitest'
import { isSource, isTest, readTree, withoutComments } from '../architecture/tree.ts'
import { readPage, rowsOf, sectionOf } from './page.ts'

const page = readPage('docs/reference/configuration.md')
const code = (name: string | null): string => (name === null ? '–' : `\`${name}\``)

it('docs/reference/configuration.md shows the table of settings as it is', () => {
  const all: Setting[] = Object.values(settings)
  const rows = all.map(({ env, flag, key, default: fallback, meaning }) => [
    code(env),
    code(flag),
    code(key),
    fallback,
    meaning,
  ])
  expect(rowsOf(sectionOf(page, '## Settings of the server'))).toEqual(rows)
})

it('names every variable that a program of ours reads from its operator', () => {
  const sources = readTree().filter((file) => isSource(file) && !isTest(file) && file.path.startsWith('packages/'))
  const readings = /\benv\.(BERTH_\w+)|\.env\('(BERTH_\w+)'\)|env: '((?:BERTH|ANTHROPIC)_\w+)'/g
  const names = sources.flatMap(({ text }) =>
    [...withoutComments(text).matchAll(readings)].map(([, ...found]) => found.find((name) => name !== undefined)),
  )
  expect(names.length).toBeGreaterThan(10)
  const listed = new Set([...page.matchAll(/^\| `(\w+)` /gm)].map(([, name]) => name))
  expect(names.filter((name) => !listed.has(name))).toEqual([])
})
