import { expect, it } from 'vitest'
import { z } from 'zod'
import { Paper } from '../test/paper.ts'
import { recordedDeltas, recordedEvents } from '../test/recorded-events.ts'
import type { StreamEvent } from './follow.ts'
import { Screen } from './screen.ts'
import { Transcript } from './transcript.ts'

interface Look {
  readonly columns?: number
  readonly verbose?: boolean
  readonly inputs?: boolean
}

function rendered(events: readonly StreamEvent[], { columns, verbose = false, inputs = true }: Look): string {
  const paper = new Paper(columns)
  const screen = new Screen({ out: paper, err: paper, color: paper.isTTY })
  const transcript = new Transcript({ screen, verbose, inputs })
  for (const event of events) transcript.show(event)
  return paper.text
}

it.each([
  ['terminal', { columns: 60 }],
  ['pipe', {}],
  ['verbose', { verbose: true }],
] as const)('writes a recorded session as in golden/session.%s.txt', async (name, look) => {
  await expect(rendered(recordedEvents, look)).toMatchFileSnapshot(`../test/golden/session.${name}.txt`)
})

it('leaves the inputs out where the user has typed them', () => {
  expect(rendered(recordedEvents, { inputs: false })).not.toContain('> count')
})

it('writes a message as it comes and its rest when it is there, neutral across chunks', () => {
  const text = rendered(recordedDeltas, { columns: 60 })
  expect(text).toBe('There are ␛[2J13 lines.\nDone.\nThis one is cut\nAfter it.\n')
})

it('shows a message whole when the deltas were not its beginning', () => {
  const [start, first] = recordedDeltas
  const final = recordedDeltas.find((event) => event.type === 'agent.message')
  if (start === undefined || first?.type !== 'event_delta' || final === undefined) throw new Error('no recording')
  const other = { ...first, delta: { ...first.delta, content: { type: 'text' as const, text: 'Something else' } } }
  expect(rendered([start, other, final], {})).toBe('Something else\nThere are ␛[2J13 lines.\nDone.\n')
})

it('shows nothing of events that it does not know', () => {
  const unknown = z.custom<StreamEvent>().parse({ id: 'sevt_99', type: 'agent.dreamt', dream: 'sheep' })
  expect(rendered([unknown], {})).toBe('')
})
