import { textsOf, type MessagesRequest } from './request.ts'

/** Where a conversation stands. Computed from the request alone, so that a model started anew answers the same. */
export interface Position {
  /** The user's real prompts, oldest first. */
  prompts: string[]
  /** The newest of them; its script counts. Empty if there is none. */
  prompt: string
  /** How many assistant messages follow it: the index of the step that answers this call. */
  step: number
}

/** Texts that the CLI wraps in tags and puts into user messages: context and reports, not the user's words. */
const CLI_TAGS = [
  'system-reminder',
  'task-notification',
  'local-command-caveat',
  'local-command-stdout',
  'local-command-stderr',
  'command-name',
  'command-message',
  'command-args',
  'session',
]
const cliTagged = new RegExp(`<(${CLI_TAGS.join('|')})>[\\s\\S]*?</\\1>`, 'g')

/** What was said before it belongs to a turn that is over, even where the CLI sends both in one message. */
const interruption = /^\[Request interrupted by user[^\]]*\]$/

/** The CLI's own words between two calls of one turn: the turn's script goes on. */
const continuations = [/^Continue from where you left off\.$/]

/** A turn's texts in one user message are one prompt; an assistant message or an interruption ends it. */
export function locate(request: MessagesRequest): Position {
  const prompts: string[] = []
  let step = 0
  for (const message of request.messages) {
    if (message.role === 'assistant') step += 1
    if (message.role !== 'user') continue
    const prompt = promptOf(textsOf(message.content))
    if (prompt === undefined) continue
    prompts.push(prompt)
    step = 0
  }
  return { prompts, prompt: prompts.at(-1) ?? '', step }
}

function promptOf(texts: string[]): string | undefined {
  let words: string[] = []
  for (const text of texts.map(userWords)) {
    if (interruption.test(text)) words = []
    else if (text !== '' && !continuations.some((continuation) => continuation.test(text))) words.push(text)
  }
  return words.length === 0 ? undefined : words.join('\n')
}

function userWords(text: string): string {
  return text.replace(cliTagged, '').trim()
}
