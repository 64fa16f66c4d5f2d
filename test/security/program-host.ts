import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { WebSocketServer } from 'ws'
import { z } from 'zod'

const run = promisify(execFile)
/** Goes to `bound.test`, where nothing is to be had without it. */
export const secret = 'canary-5f0c'

/** A host with what programs ask for: pages, a git repository, a package of npm and one of pip, a WebSocket that echoes. */
export async function startProgramHost(
  dir: string,
  { key, cert }: { key: string; cert: string },
  address: string,
): Promise<AsyncDisposable> {
  const packages = await makePackages(dir)
  await run('sh', [
    '-c',
    `
    git init -q -b main ${dir}/work && cd ${dir}/work && echo cloned > file &&
    git -c user.name=t -c user.email=t@test add file && git -c user.name=t -c user.email=t@test commit -qm one &&
    git clone -q --bare ${dir}/work ${dir}/repository.git && cd ${dir}/repository.git && git update-server-info`,
  ])
  const server = createServer({ key, cert }, (request, response) => void answer(dir, packages, request, response))
  const verifyClient = ({ req }: { req: IncomingMessage }): boolean => isAdmitted(req)
  const sockets = new WebSocketServer({ server, verifyClient })
  sockets.on('connection', (socket) =>
    socket.on('message', (data) =>
      socket.send(Buffer.concat([Buffer.from('echo '), z.instanceof(Buffer).parse(data)]), { binary: false }),
    ),
  )
  server.listen(443, address)
  await once(server, 'listening')
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets.clients) socket.terminate()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/** Bearer, or the password of Basic. */
function isAdmitted({ headers }: IncomingMessage): boolean {
  if (headers.host !== 'bound.test') return true
  const [scheme = '', given = ''] = headers.authorization?.split(' ') ?? []
  const text =
    scheme === 'Basic'
      ? Buffer.from(given, 'base64')
          .toString()
          .replace(/^[^:]*:/, '')
      : given
  return text === secret
}

type Pages = Readonly<Record<string, string | Buffer>>

async function answer(dir: string, packages: Pages, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!isAdmitted(request)) return void response.writeHead(401, { 'www-authenticate': 'Basic realm="bound"' }).end()
  if (request.url === '/said') return void response.end(request.rawHeaders.join('\n'))
  const path = new URL(request.url ?? '/', 'https://host').pathname
  const page = packages[path]
  const file = path.startsWith('/repository.git/') ? await readFile(join(dir, path)).catch(() => undefined) : undefined
  const body = page ?? file ?? (path === '/page' ? `page of ${request.headers.host}` : undefined)
  response.writeHead(body === undefined ? 404 : 200, path.startsWith('/simple/') ? { 'content-type': 'text/html' } : {})
  response.end(body)
}

/** A wheel is a zip file; Python makes one. */
async function makePackages(dir: string): Promise<Pages> {
  const wheel = 'thing-1.0-py3-none-any.whl'
  await mkdir(join(dir, 'pip'))
  await writeFile(
    join(dir, 'make.py'),
    `
import zipfile
with zipfile.ZipFile('${dir}/pip/${wheel}', 'w') as z:
    z.writestr('thing.py', '')
    z.writestr('thing-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n')
    z.writestr('thing-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('thing-1.0.dist-info/RECORD', '')
`,
  )
  await run('/usr/bin/python3', [join(dir, 'make.py')])
  const version = { name: 'thing', version: '1.2.3', dist: { tarball: 'https://packages.allowed.test/thing.tgz' } }
  return {
    '/simple/thing/': `<a href="/${wheel}">${wheel}</a>`,
    [`/${wheel}`]: await readFile(join(dir, 'pip', wheel)),
    '/thing': JSON.stringify({ name: 'thing', 'dist-tags': { latest: '1.2.3' }, versions: { '1.2.3': version } }),
  }
}
