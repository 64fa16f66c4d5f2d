/** A program that speaks MCP over its standard streams. */
export const stdioProgram = `
let rest = ''
process.stdin.on('data', (chunk) => {
  const lines = (rest + chunk).split('\\n')
  rest = lines.pop()
  for (const line of lines) {
    const { id, method, params } = JSON.parse(line)
    const answer = (result) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n')
    const serverInfo = { name: 'files', version: '1' }
    if (method === 'initialize') answer({ protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo })
    const inputSchema = { type: 'object' }
    if (method === 'tools/list') answer({ tools: ['whoami', 'drop'].map((name) => ({ name, inputSchema })) })
    const text = 'uid ' + process.getuid() + ' in ' + process.env.PLACE + ' calls ' + params?.name
    if (method === 'tools/call') {
      require('node:fs').appendFileSync('calls', 'called\\n')
      answer({ content: [{ type: 'text', text }] })
    }
  }
})`
