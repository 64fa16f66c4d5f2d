import { textsOf, type MessagesRequest, type RequestMessage } from './request.ts'

/** Where a conversation stands. Computed from the request alone, so that a model started anew answers the same. */
export interface Position {
  /** The user's real prompts, oldest first. */
  prompts: string[]
  /** The newest of them; its script counts. Empty if there is none. */
  prompt: string
  /** How many assistant messages follow it: the index of the step that answers this call. */
  step: number
}

/** Context and reports that the CLI puts into user messages, not the user's words. */
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

/** How the CLI's own user texts begin. None of them is a prompt: the script of the prompt before goes on. */
const CLI_TEXTS = [
  '[Request interrupted by user',
  'Continue from where you left off',
  'Output token limit hit',
  'Your response above was cut off mid-stream',
  'Your response above was stopped by a safety classifier',
  'Stop hook feedback:',
  '[structured-output-enforce]',
  'This session is being continued from',
]

/** What the CLI writes in the model's name where a turn was cut: no call of the model stands behind it. */
const FILLER = 'No response requested.'

export function locate(request: MessagesRequest): Position {
  const prompts: string[] = []
  let step = 0
  for (const message of request.messages) {
    if (message.role === 'assistant' && !isFiller(message)) step += 1
    if (message.role !== 'user') continue
    const found = promptsIn(textsOf(message.content))
    if (found.length === 0) continue
    prompts.push(...found)
    step = 0
  }
  return { prompts, prompt: prompts.at(-1) ?? '', step }
}

/**
 * Several texts of one message are one prompt, unless the CLI put several messages together (which it does when
 * nothing was answered between them): then each but the last was given a newline at its end.
 */
function promptsIn(texts: string[]): string[] {
  const prompts: string[][] = []
  let open = false
  for (const text of texts) {
    const words = text.replace(cliTagged, '').trim()
    if (words !== '' && !CLI_TEXTS.some((beginning) => words.startsWith(beginning))) {
      if (open) prompts.at(-1)?.push(words)
      else prompts.push([words])
      open = true
    }
    if (text.endsWith('\n')) open = false
  }
  return prompts.map((parts) => parts.join('\n'))
}

function isFiller(message: RequestMessage): boolean {
  return textsOf(message.content).join('') === FILLER
}
