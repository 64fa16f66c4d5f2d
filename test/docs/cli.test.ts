import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { exit } from '@berth/cli/exit'
import { berth } from '@berth/cli/program'
import { expect, it } from 'vitest'
import { blocksOf, readPage, rowsOf, sectionOf } from './page.ts'

const page = readPage('docs/reference/cli.md')

type Command = ReturnType<typeof berth>

/** Every command's help, by the command's words. */
function helpOf(command: Command, words: string, out: PassThrough): [string, string][] {
  command.outputHelp()
  const help = String(out.read() ?? '')
  const below = command.commands.flatMap((sub) => helpOf(sub, `${words} ${sub.name()}`, out))
  return [[words, help], ...below]
}

const out = new PassThrough()
const program = berth({
  env: {},
  stdin: new PassThrough(),
  stdout: out,
  stderr: new PassThrough(),
  signals: new EventEmitter(),
  setExitCode: () => undefined,
  endNow: () => undefined,
})
const helps = helpOf(program, 'berth', out)

it.each(helps)('docs/reference/cli.md shows the help of %s as it is', (words, help) => {
  expect(blocksOf(sectionOf(page, `## ${words}`), 'text').join('\n')).toBe(help)
})

it('has no command that does not exist', () => {
  const headings = [...page.matchAll(/^## (berth.*)$/gm)].map(([, words]) => words)
  expect(headings).toEqual(helps.map(([words]) => words))
})

it('lists the exit codes', () => {
  expect(rowsOf(sectionOf(page, '## Exit codes')).map(([code]) => Number(code))).toEqual(Object.values(exit))
})
