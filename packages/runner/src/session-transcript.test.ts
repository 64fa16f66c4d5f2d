import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { restoreTranscript } from './session-transcript.ts'

let home: string
beforeEach(() => void (home = mkdtempSync(join(tmpdir(), 'tr-'))))
afterEach(() => rmSync(home, { recursive: true }))

const path = 'projects/p/a.jsonl'
const restore = (start: number, text: string, unless_bytes?: number): void =>
  restoreTranscript({ home, uid: 1000 }, { path, start, text, unless_bytes }, true)
const file = (): string => readFileSync(join(home, '.claude', path), 'utf8')

test('a transcript is put back part by part', () => {
  restore(0, 'one\n')
  restore(4, 'two\n')
  expect(file()).toBe('one\ntwo\n')
  restore(0, 'new\n')
  expect(file()).toBe('new\n')
})

test('one that has what was shipped, or more, stays; one that is shorter, or missing, is put back', () => {
  const shipped = (): void => {
    restore(0, 'one\n', 8)
    restore(4, 'two\n', 8)
  }
  shipped()
  expect(file()).toBe('one\ntwo\n')
  restore(0, 'one\ntwo\nmore\n')
  shipped()
  expect(file()).toBe('one\ntwo\nmore\n')
  restore(0, 'o')
  shipped()
  expect(file()).toBe('one\ntwo\n')
})
