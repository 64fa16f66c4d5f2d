import { entryOf, type Entry } from './entry.ts'
import type { StreamEvent } from './follow.ts'
import { neutralise, neutraliseLine, NeutralStream } from './neutralise.ts'
import type { Screen, Style } from './screen.ts'
import { cut } from './table.ts'

/** Lines of a tool's result that are shown unless all are asked for. */
const RESULT_LINES = 8

export interface TranscriptOptions {
  readonly screen: Screen
  /** Show tool inputs and results whole. */
  readonly verbose: boolean
  /** Show the user's messages, too. */
  readonly inputs: boolean
}

/** A session for people to read: agent text as it is written, tool calls on one line each, results indented below. */
export class Transcript {
  readonly #screen: Screen
  readonly #verbose: boolean
  readonly #inputs: boolean
  /** Inputs come twice, the second time when the agent has taken them up. */
  readonly #inputsSeen = new Set<string>()
  #preview: Preview | undefined

  constructor({ screen, verbose, inputs }: TranscriptOptions) {
    this.#screen = screen
    this.#verbose = verbose
    this.#inputs = inputs
  }

  show(event: StreamEvent): void {
    if (event.type === 'event_start') this.#open(event.event.type === 'agent.message' ? event.event.id : undefined)
    else if (event.type === 'event_delta') this.#extend(event)
    else if (event.type === 'agent.message' && event.id === this.#preview?.id) this.#close(textOfMessage(event))
    else if (event.type === 'span.model_request_end') this.#close(undefined)
    else if (event.type === 'user.message' || event.type === 'user.interrupt') this.#showInput(event)
    else this.#printEvent(event)
  }

  #showInput(event: Extract<StreamEvent, { type: 'user.message' | 'user.interrupt' }>): void {
    const hidden = event.type === 'user.message' && !this.#inputs
    if (hidden || this.#inputsSeen.has(event.id)) return
    this.#inputsSeen.add(event.id)
    this.#printEvent(event)
  }

  #printEvent(event: StreamEvent): void {
    const entry = entryOf(event)
    if (entry !== undefined) this.#print(entry)
  }

  #print(entry: Entry): void {
    this.#close(undefined)
    const screen = this.#screen
    switch (entry.kind) {
      case 'asked':
        return screen.line(screen.paint('bold', indent(neutralise(entry.text), '> ')))
      case 'said':
        return screen.line(neutralise(entry.text))
      case 'called':
        return screen.line(this.#callLine(entry.tool, entry.input))
      case 'answered':
        return this.#printResult(entry.text, entry.failed)
      case 'failed':
        return screen.notice(screen.paint('red', `error: ${neutralise(entry.text)}`))
      case 'noted':
        return screen.line(screen.paint('dim', `· ${neutraliseLine(entry.text)}`))
    }
  }

  #callLine(tool: string, input: string): string {
    const name = neutraliseLine(tool)
    if (this.#verbose) return `● ${this.#screen.paint('bold', name)}  ${indent(neutralise(input), '    ').trimStart()}`
    const room = Math.max(10, this.#screen.width - name.length - 4)
    return `● ${this.#screen.paint('bold', name)}  ${cut(neutraliseLine(input), room)}`
  }

  #printResult(text: string, failed: boolean): void {
    const screen = this.#screen
    const style: Style = failed ? 'red' : 'dim'
    const lines = neutralise(text === '' ? '(no output)' : text)
      .trimEnd()
      .split('\n')
    const shown = this.#verbose ? lines : lines.slice(0, RESULT_LINES).map((line) => cut(line, screen.width - 4))
    for (const [n, line] of shown.entries()) {
      screen.line(screen.paint(style, `${failed && n === 0 ? '  ✗ ' : '    '}${line}`.trimEnd()))
    }
    const more = lines.length - shown.length
    if (more > 0)
      screen.line(screen.paint(style, `    … ${more} more ${more === 1 ? 'line' : 'lines'} (--verbose shows all)`))
  }

  #open(id: string | undefined): void {
    this.#close(undefined)
    if (id !== undefined) this.#preview = new Preview(id)
  }

  #extend(event: Extract<StreamEvent, { type: 'event_delta' }>): void {
    if (event.event_id !== this.#preview?.id || event.delta.content.type !== 'text') return
    this.#screen.fragment(this.#preview.add(event.delta.index ?? 0, event.delta.content.text))
  }

  /** What the deltas did not bring is written now. A message that never came leaves what was seen of it. */
  #close(text: string | undefined): void {
    const preview = this.#preview
    if (preview === undefined) return
    this.#preview = undefined
    const rest = preview.rest(text)
    if (rest === undefined) this.#screen.line(neutralise(text ?? ''))
    else this.#screen.fragment(rest)
    this.#screen.endLine()
  }
}

/** A message while it is written. */
class Preview {
  readonly id: string
  readonly #stream = new NeutralStream()
  #raw = ''
  #index = 0

  constructor(id: string) {
    this.id = id
  }

  /** Neutral text to show next. */
  add(index: number, text: string): string {
    const separated = index > this.#index ? `\n${text}` : text
    this.#index = index
    this.#raw += separated
    return this.#stream.push(separated)
  }

  /** What is still to be shown of the final text; undefined when the deltas were not the beginning of it. */
  rest(final: string | undefined): string | undefined {
    if (final === undefined) return this.#stream.end()
    if (!final.startsWith(this.#raw)) return undefined
    return this.#stream.push(final.slice(this.#raw.length)) + this.#stream.end()
  }
}

function textOfMessage(event: StreamEvent): string {
  const entry = entryOf(event)
  return entry?.kind === 'said' ? entry.text : ''
}

function indent(text: string, by: string): string {
  return text
    .split('\n')
    .map((line) => by + line)
    .join('\n')
}
