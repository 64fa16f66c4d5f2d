import type { TimeBounds, Window } from '../domain/page.ts'

interface Scan {
  readonly sort: 'asc' | 'desc'
  /** How a row's `ord` compares with the one that the window starts after. */
  readonly beyond: '<' | '>'
  /** One row more than the page shows. */
  readonly rows: number
  readonly created: readonly (readonly ['<' | '<=' | '>' | '>=', string])[]
}

/** A window in the words of a query. */
export function toScan(window: Window): Scan {
  const ascending = (window.order === 'asc') === (window.direction === 'forward')
  return {
    sort: ascending ? 'asc' : 'desc',
    beyond: ascending ? '>' : '<',
    rows: window.limit + 1,
    created: toComparisons(window.created),
  }
}

function toComparisons({ gt, gte, lt, lte }: TimeBounds): Scan['created'] {
  return [
    ...(gt === undefined ? [] : [['>', gt] as const]),
    ...(gte === undefined ? [] : [['>=', gte] as const]),
    ...(lt === undefined ? [] : [['<', lt] as const]),
    ...(lte === undefined ? [] : [['<=', lte] as const]),
  ]
}
