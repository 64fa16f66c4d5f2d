/** `/berth/v1/sessions/{id}/ports/{port}/url`: signed URLs. What they lead to is answered by `ports/port-listener.ts`. */
import { createRoute } from '@hono/zod-openapi'
import { portNumber, portUrl, portUrlBody } from '@berth/protocol/api/port'
import { idText } from '@berth/protocol/api/text'
import { z } from 'zod'
import type { AddRoutes } from './context.ts'
import { TOKEN_PARAM } from './ports/target.ts'
import { answers, jsonBody, security } from './route.ts'

const sign = createRoute({
  method: 'post',
  path: '/berth/v1/sessions/{session_id}/ports/{port}/url',
  security,
  request: { params: z.object({ session_id: idText, port: portNumber }), body: jsonBody(portUrlBody) },
  responses: answers(portUrl, 'A URL that reaches the port without a key, as long as the session has its sandbox.'),
})

export const addSessionPorts: AddRoutes = (app, deps) => {
  const { addresses, tokens } = deps.ports
  app.openapi(sign, async (c) => {
    const { workspaceId, keyId } = c.var
    const { session_id: sessionId, port } = c.req.valid('param')
    const { expires_in, method } = c.req.valid('json')
    const sandboxId = await deps.engine.ports.sandboxOf({ workspaceId, sessionId })
    const expires = deps.clock.now().getTime() + expires_in * 1000
    const token = tokens.sign({ workspaceId, keyId, sessionId, sandboxId, port, method, expires })
    const url = `${addresses.originOf({ sessionId, port })}/?${TOKEN_PARAM}=${token}`
    c.header('cache-control', 'no-store')
    return c.json({ url, expires_at: new Date(expires).toISOString() }, 200)
  })
}
