import { errorCodes } from '@berth/protocol'
import { expect, it } from 'vitest'
import { readPage, rowsOf, sectionOf } from './page.ts'

it('docs/reference/errors.md shows the table of codes as it is', () => {
  const rows = Object.entries(errorCodes).map(([code, { status, type, retryable, meaning }]) => [
    `\`${code}\``,
    String(status),
    `\`${type}\``,
    retryable ? 'yes' : 'no',
    meaning,
  ])
  expect(rowsOf(sectionOf(readPage('docs/reference/errors.md'), '## Codes'))).toEqual(rows)
})
