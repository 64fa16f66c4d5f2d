import { expect, test } from 'vitest'
import { Admission, type Asking } from './admission.ts'
import { Refusal } from './refusal.ts'

const MIB = 1024 * 1024

function asking(sessionId: string, bytes: number, given: object = {}): Asking {
  const body = { model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'x'.repeat(bytes) }], ...given }
  return {
    sessionId,
    bytes: Buffer.from(JSON.stringify(body)),
    endpoint: 'messages',
    policy: { models: ['m'], server_tools: [] },
  }
}

test('large bodies are treated like small ones', async () => {
  await using admission = new Admission()
  for (const size of [10, 3 * MIB]) {
    const asked = asking('s', size, { stream: true })
    const text = asked.bytes.toString()
    const { body, model, stream } = await admission.admit(asked)
    expect([body.length, model, stream]).toEqual([text.length, 'm', true])
    expect(JSON.parse(body.toString())).toEqual(JSON.parse(text))
    await expect(admission.admit(asking('s', size, { container: 'c' }))).rejects.toMatchObject({
      status: 400,
      retry: false,
    })
    await expect(admission.admit(asking('s', size, { model: 'n' }))).rejects.toMatchObject({ status: 404 })
  }
})

test('sessions take turns', async () => {
  await using admission = new Admission()
  const order: string[] = []
  const ask = async (id: string) => {
    await admission.admit(asking(id, MIB))
    order.push(id)
  }
  await Promise.all(['a', 'a', 'a', 'a', 'b', 'c'].map(ask))
  expect(order).toEqual(['a', 'a', 'b', 'c', 'a', 'a'])
})

const millisecondsOf = ({ user, system }: NodeJS.CpuUsage): number => (user + system) / 1000

test('the event loop goes on meanwhile', async () => {
  await using admission = new Admission()
  let turns = 0
  const tick = setInterval(() => turns++, 1)
  const busy = asking('s', 0, {
    messages: Array.from({ length: 60_000 }, () => ({ role: 'user', content: [{ type: 'text', text: 'x' }] })),
  })
  const [all, own] = [process.cpuUsage(), process.threadCpuUsage()]
  await admission.admit(busy)
  const [took, here] = [millisecondsOf(process.cpuUsage(all)), millisecondsOf(process.threadCpuUsage(own))]
  clearInterval(tick)
  expect(turns).toBeGreaterThan(0)
  // The work is done elsewhere.
  expect(here).toBeLessThan(took / 2)
})

test('neither size nor shape makes a body expensive', async () => {
  await using admission = new Admission()
  const request = asking('s', 10).bytes.toString()
  const many = (part: string, times: number) => `[${`${part},`.repeat(times)}${part}]`
  const shapes = [
    request.replace('{', `{"metadata":{"a":${many('{}', 11_000_000)}},`),
    request.replace(/\[.*\]/, many('{}', 240_000)),
    request.replace('{', `{"stop_sequences":${many('{}', 10_000_000)},`),
    `{${Array.from({ length: 400_000 }, (_, i) => `"k${i}":1`).join()}}`,
    `${'['.repeat(16_000_000)}${']'.repeat(16_000_000)}`,
    `{"a":"${'\\"'.repeat(15_000_000)}`,
  ]
  const before = process.memoryUsage().rss
  for (const shape of shapes) {
    const refused = admission.admit({ ...asking('s', 1), bytes: Buffer.from(shape) })
    await expect(refused).rejects.toBeInstanceOf(Refusal)
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(700 * MIB)
})
