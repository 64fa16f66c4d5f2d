/** Gives an agent a project with a failing test, and gets back a report. One task, one sandbox, which ends with the task. */
import Anthropic from '@anthropic-ai/sdk'

const baseURL = process.env['BERTH_URL'] ?? 'http://127.0.0.1:8787'
const apiKey = process.env['BERTH_API_KEY'] ?? ''
const { agents, environments, sessions } = new Anthropic({ baseURL, apiKey }).beta

const project = {
  'average.sh': 'sum=0; n=0\nfor x in "$@"; do sum=$((sum + x)); n=$((n + 2)); done\necho $((sum / n))\n',
  'test.sh':
    '[ "$(sh average.sh 2 4 6)" = 4 ] && echo ok || { echo "average of 2 4 6 is $(sh average.sh 2 4 6)"; exit 1; }\n',
}
const task = `Run test.sh in /workspace. It fails: find the bug, fix it, and see the test pass.
Then write what was wrong to /mnt/session/outputs/report.md.`

/** What a model would do. */
const script = [
  '::tool Bash {"command":"sh test.sh"}',
  '::next',
  '::tool Read {"file_path":"/workspace/average.sh"}',
  '::next',
  '::text n grows by 2 for each number.',
  '::tool Edit {"file_path":"/workspace/average.sh","old_string":"n + 2","new_string":"n + 1"}',
  '::next',
  '::tool Bash {"command":"sh test.sh && echo \'average.sh counted each number twice.\' > /mnt/session/outputs/report.md"}',
  '::next',
  '::text Fixed. The test says: {{result}}',
]

async function berth(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${apiKey}` }
  const answer = await fetch(`${baseURL}/berth/v1/sessions/${path}`, { ...init, headers })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer
}

const contentOf = (id: string, path: string): string => `${id}/files/content?path=${encodeURIComponent(path)}`

const tools = [{ type: 'agent_toolset_20260401' as const }]
const system = 'You fix bugs. You change as little as you can, and you always see the test pass.'
const agent = await agents.create({ name: 'Bug fixer', model: 'claude-sonnet-5-5', system, tools })
const config = { type: 'cloud' as const, berth: { lifecycle: { type: 'ephemeral' } } }
const environment = await environments.create({ name: 'One task', config })
const { id } = await sessions.create({ agent: agent.id, environment_id: environment.id, title: 'Fix average.sh' })
for (const [name, body] of Object.entries(project)) await berth(contentOf(id, name), { method: 'PUT', body })

const stream = await sessions.events.stream(id)
const text = process.env['SCRIPTED'] === '1' ? [task, ...script].join('\n') : task
await sessions.events.send(id, { events: [{ type: 'user.message', content: [{ type: 'text', text }] }] })
for await (const event of stream) {
  if (event.type === 'agent.tool_use') console.log(`● ${event.name} ${JSON.stringify(event.input)}`)
  if (event.type === 'agent.message') for (const block of event.content) if ('text' in block) console.log(block.text)
  if (event.type === 'session.status_idle') break
}

// From the sandbox, or from what was kept of it: it may be gone by now.
console.log(await (await berth(contentOf(id, '/mnt/session/outputs/report.md'))).text())
