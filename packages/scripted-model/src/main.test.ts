import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'

const main = fileURLToPath(new URL('main.ts', import.meta.url))
const started: ChildProcess[] = []

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

async function run(stdin: 'pipe' | 'ignore', ...args: string[]) {
  const child = spawn(process.execPath, [main, ...args], { stdio: [stdin, 'pipe', 'inherit'] })
  started.push(child)
  const exited = once(child, 'exit')
  if (child.stdout === null) throw new Error('no stdout')
  for await (const line of createInterface({ input: child.stdout })) {
    return { child, exited, url: z.object({ url: z.string() }).parse(JSON.parse(line)).url }
  }
  throw new Error('it ended without a word')
}

test('it says where it listens, answers, and ends on SIGTERM even with a call open', async () => {
  const { child, exited, url } = await run('ignore', '--listen', '127.0.0.1:0')
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: '::stall\n::text x' }], stream: true })
  const open = await fetch(`${url}/v1/messages`, { method: 'POST', body })
  child.kill('SIGTERM')
  await expect(open.text()).rejects.toThrow()
  expect(await exited).toEqual([0, null])
})

test('with --with-stdin it ends when its stdin closes', async () => {
  const { child, exited } = await run('pipe', '--with-stdin')
  child.stdin?.end()
  expect(await exited).toEqual([0, null])
})

test('a bad address is an error', async () => {
  const child = spawn(process.execPath, [main, '--listen', 'nowhere'], { stdio: ['ignore', 'ignore', 'pipe'] })
  started.push(child)
  let complaint = ''
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  expect(await once(child, 'close')).toEqual([1, null])
  expect(complaint).toContain('--listen: expected host:port or an absolute path, got "nowhere"')
})
