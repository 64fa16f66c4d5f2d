import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { BodyBudget, readBody } from './body.ts'
import { temporary } from './fixture/running-gateway.ts'

test('a body that comes byte by byte takes of the budget what it weighs, and gives it back', async () => {
  await using dir = await temporary()
  const budget = new BodyBudget(100_000)
  const refused: unknown[] = []
  const server = createServer((request, response) => {
    readBody(request, budget).catch((error: unknown) => {
      refused.push(error)
      response.end()
    })
  })
  server.listen(`${dir.path}/s`)
  await once(server, 'listening')
  const client = httpRequest({ socketPath: `${dir.path}/s`, method: 'POST', agent: false })
  client.on('error', () => undefined)
  let sent = 0
  // Far fewer bytes than the budget has.
  while (refused.length === 0 && sent < 20_000) {
    client.write('x')
    sent++
    await turn()
  }
  expect(refused).toMatchObject([{ status: 503 }])
  expect(() => budget.take(100_000)).not.toThrow()
  client.destroy()
  server.closeAllConnections()
  server.close()
})
