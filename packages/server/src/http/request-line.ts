/**
 * A request is refused that something in front of us may have understood otherwise: by another host, another path, or another body than the
 * ones we see.
 */
import { BerthError } from '@berth/protocol'
import { createMiddleware } from 'hono/factory'
import type { AppEnv } from './context.ts'

export const checkRequestLine = createMiddleware<AppEnv>(async (c, next) => {
  const { incoming } = c.env
  if (incoming === undefined) return next()
  const target = incoming.url ?? ''
  const coding = incoming.headers['transfer-encoding']?.toLowerCase() ?? 'chunked'
  if (!target.startsWith('/')) throw refused('the request target must be a path')
  if (new URL(c.req.url).pathname !== target.split(/[?#]/, 1)[0]) {
    throw refused(
      'the path must be written in full: without dot segments, and with other characters than ASCII encoded',
    )
  }
  if (coding !== 'chunked') throw refused('transfer-encoding: must be chunked alone')
  return next()
})

function refused(message: string): BerthError {
  return new BerthError('invalid_request', message)
}
