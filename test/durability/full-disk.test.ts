import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { Invariants } from '../../packages/server/test/session-invariants.ts'
import { newSession, post, say } from '../../packages/server/test/post.ts'
import { serveApp } from '../../packages/server/test/serve-app.ts'
import { fill } from './fill.ts'
import { isRoot, LoopMount } from './loop-mount.ts'

if (!isRoot) process.stdout.write('left out: the full disk, which mounts a file system and needs root\n')

test.skipIf(!isRoot)(
  'on a full disk a message is refused whole and may come again; the session goes on when there is room',
  async () => {
    using disk = new LoopMount(24 * 1024 * 1024)
    await using server = await serveApp({}, { dir: disk.path })
    const id = await newSession(server)
    const path = `/v1/sessions/${id}/events`
    using raw = new DatabaseSync(server.databasePath, { readOnly: true })
    const invariants = new Invariants(raw, id)
    const send = (n: number) =>
      post(server, path, say(`${n} ${'x'.repeat(256 * 1024)}`), { 'idempotency-key': `message-${n}` })
    expect((await send(0)).status).toBe(200)
    const ballast = fill(disk.path)

    let n = 1
    let answer = await send(n)
    // The write-ahead log may have room inside.
    while (answer.status === 200 && n < 40) answer = await send(++n)
    expect(answer.status).toBe(503)
    expect(answer.headers['x-should-retry']).toBe('true')
    expect(answer.body).toContain('the disk of the server is full; nothing was changed')
    expect(invariants.check()).toEqual([])
    expect(await said()).toEqual(Array.from({ length: n }, (_, index) => index))
    expect((await send(n)).status).toBe(503)

    rmSync(ballast)
    expect((await send(n)).status).toBe(200)
    expect((await send(n)).status).toBe(200)
    expect((await send(n + 1)).status).toBe(200)
    expect(await said()).toEqual(Array.from({ length: n + 2 }, (_, index) => index))
    expect(invariants.check()).toEqual([])

    async function said(): Promise<number[]> {
      const numbers: number[] = []
      for await (const event of server.client.beta.sessions.events.list(id)) {
        if (event.type !== 'user.message') continue
        const [block] = event.content
        if (block?.type === 'text') numbers.push(Number.parseInt(block.text, 10))
      }
      return numbers.toSorted((a, b) => a - b)
    }
  },
)
