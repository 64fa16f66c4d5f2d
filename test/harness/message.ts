/** What a user says: lines of text (for the scripted model, a script), or content blocks. */
import type { BetaManagedAgentsUserMessageEventParams } from '@anthropic-ai/sdk/resources/beta/sessions/events'

export type Content =
  | string
  | readonly string[]
  | { readonly blocks: BetaManagedAgentsUserMessageEventParams['content'] }

export function message(content: Content): BetaManagedAgentsUserMessageEventParams {
  if (typeof content === 'string') return message([content])
  if ('blocks' in content) return { type: 'user.message', content: content.blocks }
  return { type: 'user.message', content: [{ type: 'text', text: content.join('\n') }] }
}

/** A tool call for the scripted model. */
export function tool(name: string, input: object = {}): string {
  return `::tool ${name} ${JSON.stringify(input)}`
}

/** A tool call that runs a command in the sandbox. */
export function bash(command: string): string {
  return tool('Bash', { command })
}

/** A tool call that lasts until somebody makes /workspace/go; see `SessionSandbox.make`. */
export const untilTold = bash('until [ -e /workspace/go ]; do sleep 0.05; done; echo told')
