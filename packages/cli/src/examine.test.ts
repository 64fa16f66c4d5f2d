import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { recordedServer } from '../test/recorded-server.ts'
import { dataDir, nodeVersion, port } from './examine.ts'

it('wants Node 24', () => {
  expect(nodeVersion('24.0.0').level).toBe('ok')
  expect(nodeVersion('100.1.0').level).toBe('ok')
  expect(nodeVersion('22.23.0')).toMatchObject({ level: 'fail', remedy: 'script/setup' })
})

it('tells a free port, a Berth and another program apart', async () => {
  const berth = await recordedServer(() => undefined)
  const number = Number(new URL(berth.url).port)
  expect(await port({ host: '127.0.0.1', port: number })).toMatchObject({
    level: 'ok',
    detail: expect.stringContaining('running Berth'),
  })
  await berth[Symbol.asyncDispose]()
  expect(await port({ host: '127.0.0.1', port: number })).toMatchObject({
    level: 'ok',
    detail: expect.stringContaining('is free'),
  })

  const other = createServer((_request, response) => response.end('hello'))
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = z.object({ port: z.number() }).parse(other.address())
  expect(await port({ host: '127.0.0.1', port: address.port })).toMatchObject({ level: 'fail' })
  other.close()
})

it('says whether the data directory can be written, and makes nothing', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'berth-doctor-'))
  try {
    await writeFile(join(dir, 'file'), '')
    expect(await dataDir(dir)).toMatchObject({ level: 'ok', detail: dir })
    expect(await dataDir(join(dir, 'a/b'))).toMatchObject({ level: 'ok' })
    expect(await dataDir(join(dir, 'file/b'))).toMatchObject({ level: 'fail' })
    expect(existsSync(join(dir, 'a'))).toBe(false)
    expect(await readdir(dir)).toEqual(['file'])
  } finally {
    await rm(dir, { recursive: true })
  }
})
