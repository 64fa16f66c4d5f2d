import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ListRequest, type Positioned, toBidirectionalPage, toWindow, type Window } from './page.ts'

/** What the store's queries do, over a list in memory. */
function find(rows: readonly Positioned[], window: Window): Positioned[] {
  const ascending = (window.order === 'asc') === (window.direction === 'forward')
  const { from } = window
  return rows
    .filter(({ ord }) => from === undefined || (ascending ? ord > from : ord < from))
    .toSorted((a, b) => (ascending ? a.ord - b.ord : b.ord - a.ord))
    .slice(0, window.limit + 1)
}

const row = (ord: number): Positioned => ({ ord, created_at: new Date(ord * 1000).toISOString() })

const show = (rows: readonly Positioned[], request: ListRequest) =>
  toBidirectionalPage(request, find(rows, toWindow(request)), ({ ord }) => ord)

test('going through a list shows what was there at the start exactly once, whatever comes and goes meanwhile', () => {
  const given = {
    ords: fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 30 }),
    gone: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 10 }),
    order: fc.constantFrom('asc' as const, 'desc' as const),
    limit: fc.integer({ min: 1, max: 7 }),
  }
  fc.assert(
    fc.property(fc.record(given), ({ ords, gone, order, limit }) => {
      let rows = ords.map(row)
      const seen: number[] = []
      let page: string | undefined
      for (let turn = 0; ; turn++) {
        const shown = show(rows, { list: 'l', order, limit, page })
        seen.push(...shown.data)
        if (shown.next_page === null) break
        page = shown.next_page
        // One more at the end where new rows come, one less anywhere.
        if (turn < gone.length) rows = [...rows, row(100 + turn)].filter(({ ord }) => ord !== gone[turn])
      }
      expect(new Set(seen).size).toBe(seen.length)
      expect(seen).toEqual(seen.toSorted((a, b) => (order === 'asc' ? a - b : b - a)))
      const kept = ords.filter((ord) => !gone.includes(ord))
      expect(seen).toEqual(expect.arrayContaining(kept))
    }),
  )
})

test('turning back shows the page that was left', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 7 }),
      fc.constantFrom('asc' as const, 'desc' as const),
      (count, limit, order) => {
        const rows = Array.from({ length: count }, (_, index) => row(index + 1))
        const request = { list: 'l', order, limit }
        let page = show(rows, { ...request, page: undefined })
        expect(page.prev_page).toBeNull()
        while (page.next_page !== null) {
          const next = show(rows, { ...request, page: page.next_page })
          const back = show(rows, { ...request, page: next.prev_page ?? undefined })
          expect(back.data).toEqual(page.data)
          expect(back.prev_page === null).toBe(page.prev_page === null)
          page = next
        }
      },
    ),
  )
})
