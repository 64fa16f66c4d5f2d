import { expect, test } from 'vitest'
import { Outbox, OUTBOX_BYTES, OUTBOX_FRAMES } from './outbox.ts'

const note = (detail: string) => ({ type: 'refused', command: 'open', detail }) as const
const never = new AbortController().signal

function seqs(outbox: Outbox): number[] {
  return outbox.unacknowledged().map((text) => Number(/"seq":(\d+)/.exec(text)?.[1]))
}

test('numbers from 1, keeps what is not acknowledged, in order', () => {
  const outbox = new Outbox('s')
  expect(outbox.add(note('a')).seq).toBe(1)
  outbox.add(note('b'))
  outbox.add(note('c'))
  outbox.acknowledge(2)
  expect(seqs(outbox)).toEqual([3])
  outbox.acknowledge(1)
  expect(seqs(outbox)).toEqual([3])
  outbox.acknowledge(3)
  expect(seqs(outbox)).toEqual([])
  expect(outbox.add(note('d')).seq).toBe(4)
})

test('an acknowledgement of what was never sent acknowledges nothing of what comes', () => {
  const outbox = new Outbox('s')
  outbox.add(note('a'))
  outbox.acknowledge(100)
  outbox.add(note('b'))
  expect(seqs(outbox)).toEqual([2])
})

test('has room up to its bounds in bytes and in frames, and again when acknowledged', async () => {
  for (const [count, detail] of [
    [1, 'x'.repeat(OUTBOX_BYTES)],
    [OUTBOX_FRAMES, 'x'],
  ] as const) {
    const outbox = new Outbox('s')
    for (let n = 1; n < count; n++) outbox.add(note(detail))
    expect(outbox.hasRoom).toBe(true)
    const { seq } = outbox.add(note(detail))
    expect(outbox.hasRoom).toBe(false)
    let room = false
    const waited = outbox.room(never).then(() => (room = true))
    await Promise.resolve()
    expect(room).toBe(false)
    outbox.acknowledge(seq)
    await waited
  }
})

test('waits for one frame, not for those before it only', async () => {
  const outbox = new Outbox('s')
  outbox.add(note('a'))
  outbox.add(note('b'))
  const order: string[] = []
  const first = outbox.acknowledged(1, never).then(() => order.push('first'))
  const second = outbox.acknowledged(2, never).then(() => order.push('second'))
  outbox.acknowledge(1)
  await first
  expect(order).toEqual(['first'])
  outbox.acknowledge(2)
  await second
  await outbox.acknowledged(2, never)
})

test('a wait ends with its signal', async () => {
  const outbox = new Outbox('s')
  outbox.add(note('a'))
  const controller = new AbortController()
  const waiting = outbox.acknowledged(1, controller.signal)
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await expect(outbox.room(controller.signal)).rejects.toThrow('enough')
})
