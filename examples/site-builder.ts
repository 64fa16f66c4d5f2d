/** Has an agent build a site and serve it from its sandbox, looks at the live page, and has it changed while it is being served. */
import { get } from 'node:http'
import { text } from 'node:stream/consumers'
import Anthropic from '@anthropic-ai/sdk'

const baseURL = process.env['BERTH_URL'] ?? 'http://127.0.0.1:8787'
const apiKey = process.env['BERTH_API_KEY'] ?? ''
const client = new Anthropic({ baseURL, apiKey })
const { agents, environments, sessions } = client.beta

const html = '<h1>TIDES!!!</h1>\n<p>High water comes twice a day.</p>\n'
const server = `import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
createServer((_request, response) => {
  response.setHeader('content-type', 'text/html')
  createReadStream('site/index.html').pipe(response)
}).listen(8000, '127.0.0.1')
`
const start = `nohup /opt/berth/node server.mjs > server.log 2>&1 < /dev/null &
until (: < /dev/tcp/127.0.0.1/8000) 2> /dev/null; do sleep 0.1; done; echo Serving.`

const call = (tool: string, input: object): string => `::tool ${tool} ${JSON.stringify(input)}`
/** Each with what a model would do. */
const build = {
  task: `Write a page about tides to /workspace/site/index.html, and a server for it to /workspace/server.mjs.
Start that with /opt/berth/node in the background, on port 8000, and see that it answers.`,
  script: [
    call('Write', { file_path: '/workspace/site/index.html', content: html }),
    call('Write', { file_path: '/workspace/server.mjs', content: server }),
    '::next',
    call('Bash', { command: start }),
    '::next',
    '::text {{result}}',
  ],
}
const change = {
  task: 'The heading is too loud. Say it calmly, and leave the server as it is.',
  script: [call('Bash', { command: "sed -i 's/TIDES!!!/Tides/' site/index.html" }), '::next', '::text It is calm now.'],
}

const agent = await agents.create({
  name: 'Site builder',
  model: 'claude-sonnet-5-5',
  system: 'You build small sites, and keep them running.',
  tools: [{ type: 'agent_toolset_20260401' }],
})
const config = { type: 'cloud' as const, berth: { lifecycle: { type: 'long_running' } } }
const environment = await environments.create({ name: 'Always there', config })
const { id } = await sessions.create({ agent: agent.id, environment_id: environment.id })

async function ask({ task, script }: typeof build): Promise<void> {
  const stream = await sessions.events.stream(id)
  const words = process.env['SCRIPTED'] === '1' ? [task, ...script].join('\n') : task
  await sessions.events.send(id, { events: [{ type: 'user.message', content: [{ type: 'text', text: words }] }] })
  for await (const event of stream) {
    if (event.type === 'agent.message') for (const block of event.content) if ('text' in block) console.log(block.text)
    if (event.type === 'session.status_idle') return
  }
}

/** As a browser shows it. Names below localhost are all this machine; a browser knows that, Node has to be told. */
function show(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { family: 4, lookup: (_name, _options, found) => found(null, '127.0.0.1', 4) }, (page) => {
      text(page).then((body) => resolve(console.log(body.trim())), reject)
    }).on('error', reject)
  })
}

await ask(build)
const { url }: { url: string } = await client.post(`/berth/v1/sessions/${id}/ports/8000/url`, { body: {} })
console.log(`Live for an hour, for whoever has this URL: ${url}`)
await show(url)
await ask(change)
// The URL is good for this one sandbox: it leads to the same server, which was never stopped.
await show(url)
