/** Asks one agent several questions, with a pause between them in which it costs nothing. It keeps notes in its workspace. */
import { setTimeout } from 'node:timers/promises'
import Anthropic from '@anthropic-ai/sdk'

const baseURL = process.env['BERTH_URL'] ?? 'http://127.0.0.1:8787'
const apiKey = process.env['BERTH_API_KEY'] ?? ''
const { agents, environments, sessions } = new Anthropic({ baseURL, apiKey }).beta

const sources = {
  'sources/harbours.txt': 'Rotterdam moved 438 million tonnes in 2023.\nAntwerp moved 271 million tonnes in 2023.\n',
  'sources/ships.txt': 'The longest ships that call at Rotterdam measure 400 m.\n',
}
/** Each with what a model would do. */
const questions = [
  {
    text: 'Which harbour in /workspace/sources moved more? Keep what you find in notes.md.',
    script: [
      '::tool Grep {"pattern":"million tonnes","path":"/workspace/sources","output_mode":"content"}',
      '::next',
      '::tool Write {"file_path":"/workspace/notes.md","content":"Rotterdam 438, Antwerp 271 million tonnes (2023).\\n"}',
      '::next',
      '::text Rotterdam: 438 million tonnes, against 271 in Antwerp.',
    ],
  },
  {
    text: 'By how much? You have it in your notes.',
    script: [
      '::tool Bash {"command":"cat notes.md; echo difference: $((438 - 271))"}',
      '::next',
      '::text By 167 million tonnes. My notes say: {{result}}',
    ],
  },
]

async function berth(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${apiKey}` }
  const answer = await fetch(`${baseURL}/berth/v1/sessions/${path}`, { ...init, headers })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer
}

const agent = await agents.create({
  name: 'Research assistant',
  model: 'claude-sonnet-5-5',
  system: 'You answer from sources and keep notes.',
  tools: [{ type: 'agent_toolset_20260401' }],
})
// Minutes in earnest; here nobody wants to wait.
const config = { type: 'cloud' as const, berth: { lifecycle: { type: 'hybrid', idle_timeout: 0 } } }
const environment = await environments.create({ name: 'Between questions', config })
const { id } = await sessions.create({ agent: agent.id, environment_id: environment.id })
for (const [path, body] of Object.entries(sources))
  await berth(`${id}/files/content?path=${path}`, { method: 'PUT', body })

async function ask(text: string): Promise<void> {
  const stream = await sessions.events.stream(id)
  await sessions.events.send(id, { events: [{ type: 'user.message', content: [{ type: 'text', text }] }] })
  for await (const event of stream) {
    if (event.type === 'agent.message') for (const block of event.content) if ('text' in block) console.log(block.text)
    if (event.type === 'session.status_idle') return
  }
}

/**
 * Resolves when the files are read from a checkpoint: the sandbox is put away. No event says so, for it makes no difference to a client: who
 * does not want to show it has no need to ask.
 */
async function untilPutAway(): Promise<void> {
  const signal = AbortSignal.timeout(60_000)
  for (;;) {
    const files = await (await berth(`${id}/files`, { signal })).text()
    if (!files.includes('"checkpoint_id":null')) return console.log('(put away)')
    await setTimeout(200, undefined, { signal })
  }
}

for (const { text, script } of questions) {
  console.log(`> ${text}`)
  await ask(process.env['SCRIPTED'] === '1' ? [text, ...script].join('\n') : text)
  await untilPutAway()
}
