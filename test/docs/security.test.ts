import { securityNames } from '@berth/cli/posture/security-findings'
import { expect, it } from 'vitest'
import { readTree } from '../architecture/tree.ts'
import { codeIn, readPage, rowsOf, sectionOf } from './page.ts'

const page = readPage('docs/guide/security.md')

it('docs/guide/security.md has a line for everything that doctor --security says something about', () => {
  const names = rowsOf(sectionOf(page, '## Look at a machine')).map(([name = '']) => codeIn(name))
  expect(names).toEqual(securityNames)
})

it('has tests for every promise, which are there and test something', () => {
  const tree = new Map(readTree().map(({ path, text }) => [path, text]))
  const promises = rowsOf(sectionOf(page, '## What is promised'))
  expect(promises.length).toBeGreaterThan(10)
  for (const [promise = '', proof = ''] of promises) {
    const tests = proof.split(', ').map(codeIn)
    for (const path of tests) {
      expect(path, promise).toMatch(/\.test\.ts$/)
      expect(tree.get(path), `${promise}: ${path}`).toMatch(/\b(?:it|test|story|conformance\w*)\b/)
    }
  }
})

it('names every test of security', () => {
  const tests = readTree().filter(({ path }) => /^test\/security\/[\w-]+\.test\.ts$/.test(path))
  expect(tests.map(({ path }) => path).filter((path) => !page.includes(`\`${path}\``))).toEqual([])
})
