// What an agent may have started: a server that says what it was asked, streams, and echoes a WebSocket. It runs in the sandbox.
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://x')
  if (pathname === '/stream') {
    response.writeHead(200, { 'content-type': 'text/plain' })
    response.write('first\n')
    return server.once('next', () => response.end('second\n'))
  }
  if (pathname === '/next') server.emit('next')
  if (pathname === '/silent') return undefined
  if (pathname === '/large') return response.end(Buffer.alloc(20_000_000, 'x'))
  if (pathname === '/reaching') {
    response.setHeader('set-cookie', ['own=1; Path=/', 'far=1; Domain=localhost', 'berth-port=x; Path=/'])
    response.setHeader('strict-transport-security', 'max-age=1')
    response.setHeader('clear-site-data', '"cookies"')
    response.setHeader('service-worker-allowed', '/')
    response.setHeader('x-berth-error', 'internal')
    response.setHeader('x-own', 'kept')
    return response.writeHead(418).end('teapot')
  }
  const hash = createHash('sha256')
  let bytes = 0
  request.on('data', (chunk) => {
    hash.update(chunk)
    bytes += chunk.length
  })
  return request.on('end', () => {
    const { method, url, rawHeaders } = request
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ method, url, headers: rawHeaders, bytes, sha256: hash.digest('hex') }))
  })
})

server.on('upgrade', (request, socket) => {
  if (request.url.startsWith('/refused')) return socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno')
  const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
  const accept = createHash('sha1').update(key).digest('base64')
  socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n')
  socket.write(`sec-websocket-accept: ${accept}\r\n\r\n`)
  // Small text frames alone, one at a time: those of the test.
  return socket.on('data', (frame) => {
    const length = frame[1] & 127
    const text = frame.subarray(6, 6 + length).map((byte, at) => byte ^ frame[2 + (at % 4)])
    if ((frame[0] & 15) === 1) socket.write(Buffer.concat([Buffer.from([0x81, length]), text]))
    else socket.end()
  })
})
server.listen(8000, '127.0.0.1')
