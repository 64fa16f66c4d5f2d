import { randomUUID } from 'node:crypto'
import type { TestSandbox, TestSession } from './sandbox.ts'

interface Line {
  uuid?: string
  type: string
  message?: { content: { type: string; id?: string; name?: string; input?: object }[] }
}

const linesOf = (session: TestSession): Line[] =>
  session
    .all('transcript')
    .flatMap(({ text }) => text.trim().split('\n'))
    .map((line) => JSON.parse(line))

const usesIn = (lines: readonly Line[]) =>
  lines.flatMap((line) =>
    line.type === 'assistant'
      ? (line.message?.content ?? []).flatMap((use) => (use.type === 'tool_use' ? [{ line, use }] : []))
      : [],
  )

/** Lets a CLI come to its calls and kills it there; answers the command that carries them out. */
export async function losesCli(sandbox: TestSandbox, session: TestSession, calls: readonly string[]) {
  session.open()
  session.say('Do', ...calls, '::next', '::text never')
  const { pid } = await session.report('started')
  await session.report('tool_call')
  const uses = await sandbox.peer.until(() => {
    const found = usesIn(linesOf(session))
    return found.length === calls.length && found
  })
  process.kill(pid, 'SIGKILL')
  await session.report('exited')
  const lines = linesOf(session)
  const path = session.all('transcript')[0]?.path ?? ''
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('')
  const { home, uid, own_dirs } = session.config
  session.send({ type: 'restore', home, uid, own_dirs, path, start: 0, text })
  const parentUuid = lines.findLast(({ uuid }) => uuid !== undefined)?.uuid
  return uses.map(({ line, use }) => {
    const { type: _type, message: _message, ...common } = line
    const attachment = {
      type: 'hook_deferred_tool',
      toolUseID: use.id,
      toolName: use.name,
      toolInput: use.input,
      hookName: `PreToolUse:${use.name}`,
      hookEvent: 'PreToolUse',
      permissionMode: 'default',
    }
    const deferred = { ...common, parentUuid, uuid: randomUUID(), type: 'attachment', attachment }
    return { tool_use_id: use.id ?? '', digest: null, line: `${JSON.stringify(deferred)}\n` }
  })
}
