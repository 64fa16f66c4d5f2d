/** `/berth/v1/sessions/{id}/files`: what the agent works on and leaves, read and written from outside. */
import { createRoute } from '@hono/zod-openapi'
import { BerthError } from '@berth/protocol'
import type { ArchiveNode } from '@berth/protocol/archive'
import { filePath, type SessionFile, sessionFileList } from '@berth/protocol/api/file'
import { limitQuery } from '@berth/protocol/api/page'
import { idText } from '@berth/protocol/api/text'
import { posix } from 'node:path'
import { Readable } from 'node:stream'
import { z } from 'zod'
import type { AddRoutes } from './context.ts'
import { answers, security } from './route.ts'

const params = z.object({ session_id: idText })
const LIMIT = { default: 1_000, max: 10_000 }
/** Files are streamed; this only ends what never ends. */
const MAX_UPLOAD_BYTES = 4 * 1024 ** 3
export const CONTENT_PATH = /^\/berth\/v1\/sessions\/[^/]+\/files\/content$/

const list = createRoute({
  method: 'get',
  path: '/berth/v1/sessions/{session_id}/files',
  security,
  request: { params, query: z.object({ path: filePath.default('/workspace'), limit: limitQuery(LIMIT) }) },
  responses: answers(
    sessionFileList,
    'What is in the directory, or what else stands at the path. Links are not followed.',
  ),
})

const read = createRoute({
  method: 'get',
  path: '/berth/v1/sessions/{session_id}/files/content',
  security,
  request: { params, query: z.object({ path: filePath }) },
  responses: {
    200: { description: 'The file.', content: { 'application/octet-stream': { schema: z.string() } } },
    default: answers(z.never(), '').default,
  },
})

const write = createRoute({
  method: 'put',
  path: '/berth/v1/sessions/{session_id}/files/content',
  security,
  request: {
    params,
    query: z.object({ path: filePath }),
    body: { content: { 'application/octet-stream': { schema: z.string() } } },
  },
  responses: answers(z.object({ path: z.string() }), 'The file is there, whole, under the session’s own uid.'),
})

export const addSessionFiles: AddRoutes = (app, deps) => {
  const { storage } = deps.engine
  app.openapi(list, async (c) => {
    const { path, limit } = c.req.valid('query')
    const key = { workspaceId: c.var.workspaceId, sessionId: c.req.valid('param').session_id, path, limit }
    const { nodes, isTruncated, checkpointId } = await storage.list(key, c.req.raw.signal)
    const at = posix.resolve('/workspace', path)
    const isItself = nodes.length === 1 && nodes[0]?.kind !== 'dir' && nodes[0]?.name === posix.basename(at)
    const data = nodes.map((node) => toWire(node, isItself ? posix.dirname(at) : at))
    return c.json({ data, is_truncated: isTruncated, checkpoint_id: checkpointId }, 200)
  })
  app.openapi(read, async (c) => {
    const { path } = c.req.valid('query')
    const key = { workspaceId: c.var.workspaceId, sessionId: c.req.valid('param').session_id, path }
    const { size, body } = await storage.read(key, c.req.raw.signal)
    const name = encodeName(posix.basename(path))
    return new Response(Readable.toWeb(Readable.from(body, { objectMode: false })), {
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(size),
        // A page of the agent's must not run as one of ours.
        'content-disposition': `attachment; filename*=UTF-8''${name}`,
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none'; sandbox",
      },
    })
  })
  app.openapi(write, async (c) => {
    const { path } = c.req.valid('query')
    const key = { workspaceId: c.var.workspaceId, sessionId: c.req.valid('param').session_id, path }
    await storage.write(key, bounded(c.req.raw.body), c.req.raw.signal)
    return c.json({ path: posix.resolve('/workspace', path) }, 200)
  })
}

/** As RFC 8187 has it, which leaves less than a URL does. */
function encodeName(name: string): string {
  return encodeURIComponent(name).replaceAll(/['()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
}

async function* bounded(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body === null) return
  let size = 0
  for await (const bytes of body) {
    size += bytes.byteLength
    if (size > MAX_UPLOAD_BYTES) throw new BerthError('too_large', `body: is over ${MAX_UPLOAD_BYTES} bytes`)
    yield bytes
  }
}

const types = { dir: 'directory', file: 'file', link: 'symlink', other: 'other' } as const

function toWire(node: ArchiveNode, directory: string): SessionFile {
  const name = toText(node.name)
  return {
    name,
    path: posix.join(directory, name),
    type: types[node.kind],
    size: node.size,
    mode: node.mode.toString(8).padStart(4, '0'),
    modified_at: new Date(node.modified).toISOString(),
    ...(node.to === undefined ? {} : { target: toText(node.to) }),
  }
}

/** Bytes that are not UTF-8 cannot be said in JSON: such a name is shown, and cannot be asked for. */
function toText(name: ArchiveNode['name']): string {
  return typeof name === 'string' ? name : Buffer.from(name.b64, 'base64').toString('utf8')
}
