import { describe, expect, test } from 'vitest'
import { readMcpUrl } from './mcp-url.ts'

describe('the URL of an MCP server', () => {
  test.each([
    ['https://mcp.example.com', 'https://mcp.example.com'],
    ['HTTPS://MCP.Example.com:443/', 'https://mcp.example.com'],
    ['https://mcp.example.com/Path//', 'https://mcp.example.com/Path'],
    ['https://mcp.example.com:8443/a?b=C', 'https://mcp.example.com:8443/a?b=C'],
  ])('%s has the form %s', (text, url) => {
    expect(readMcpUrl(text)).toEqual({ url })
  })

  test.each([
    ['', 'characters'],
    ['mcp.example.com', 'not a URL'],
    ['http://mcp.example.com', 'https://'],
    ['ftp://mcp.example.com', 'https://'],
    ['https://user:pass@mcp.example.com', 'user'],
    ['https://mcp.example.com/#part', 'fragment'],
    ['https://mcp.example.com#', 'fragment'],
    ['https://localhost/mcp', 'no domain'],
    ['https://127.0.0.1/mcp', 'address'],
    ['https://0x7f000001/mcp', 'address'],
    ['https://[::1]/mcp', 'address'],
    ['https://mcp.example.com\\@evil.example.com', 'characters'],
    ['https://mcp.exa\tmple.com', 'characters'],
    ['https://mcp.example.com/{a}', 'characters'],
    [`https://mcp.example.com/${'a'.repeat(2048)}`, '2048'],
  ])('%s is refused', (text, fault) => {
    expect(readMcpUrl(text)).toEqual({ fault: expect.stringContaining(fault) as unknown })
  })
})
