import { z } from 'zod'

/** What the model says in one call. `result` of a tool is not known yet, so texts still hold their `{{…}}` placeholders. */
export type ScriptBlock =
  | { type: 'text'; text: string }
  | { type: 'thinking'; thinking: string }
  | { type: 'tool_use'; name: string; input: Record<string, unknown> }

/** How a call goes wrong. `times`: only that many tries of the step, or every try. */
export type Fault = { times: number } & (
  | { kind: 'error'; status: number; type: string; message: string; headers: Record<string, string> }
  | { kind: 'garbage' }
  | { kind: 'hang' }
  | { kind: 'cut'; afterEvents: number }
  | { kind: 'stall'; afterEvents: number }
)

/** One step answers one model call. */
export interface Step {
  blocks: ScriptBlock[]
  /** Tried in order: the first one whose tries are not used up strikes. */
  faults: Fault[]
  stopReason: string | undefined
  usage: Record<string, number>
  /** Milliseconds before the first byte. */
  delayMs: number
  /** Milliseconds between two deltas of a text. */
  slowMs: number
  /** Number of deltas per text; undefined: by words. */
  chunks: number | undefined
  /** Each delta of a text begins with the time at which it is sent, for measuring what lies on its way. */
  stamp: boolean
}

/** The script itself is wrong; the message names the line (counted from 1 in the prompt). */
export class ScriptError extends Error {
  override name = 'ScriptError'
}

const MAX_TEXT_CHARS = 4 * 1024 * 1024
const MAX_PAUSE_MS = 3_600_000
const toolInput = z.record(z.string(), z.unknown())
const usageNumbers = z.record(z.string(), z.int().nonnegative())

export function emptyStep(): Step {
  return {
    blocks: [],
    faults: [],
    stopReason: undefined,
    usage: {},
    delayMs: 0,
    slowMs: 0,
    chunks: undefined,
    stamp: false,
  }
}

/** The steps of a prompt; empty if no line of it begins with `::`. Throws ScriptError. */
export function parseScript(prompt: string): Step[] {
  const steps: Step[] = []
  let step: Step | undefined
  for (const [index, line] of prompt.split(/\r?\n/).entries()) {
    if (!line.startsWith('::')) continue
    if (step === undefined) steps.push((step = emptyStep()))
    const { name, rest } = splitDirective(line)
    try {
      if (name === 'next') {
        expectNothing(rest)
        steps.push((step = emptyStep()))
      } else {
        directiveNamed(name)(step, rest)
      }
    } catch (error) {
      if (!(error instanceof Complaint)) throw error
      throw new ScriptError(`script line ${index + 1}: ::${name}: ${error.message}`)
    }
  }
  return steps
}

/** A directive's complaint about its own words; parseScript adds the line. */
class Complaint extends Error {}

type Directive = (step: Step, rest: string) => void

const directives: Record<string, Directive> = {
  text: (step, rest) => void step.blocks.push({ type: 'text', text: words(rest) }),
  thinking: (step, rest) => void step.blocks.push({ type: 'thinking', thinking: words(rest) }),
  tool: (step, rest) => {
    const [name, input] = firstWord(rest)
    if (!/^[a-zA-Z0-9_-]{1,128}$/.test(name)) throw new Complaint('needs a tool name and its input as JSON')
    step.blocks.push({ type: 'tool_use', name, input: json(input === '' ? '{}' : input, toolInput) })
  },
  repeat: (step, rest) => {
    const [count, text] = firstWord(rest)
    const copies = integer(count, 1, MAX_TEXT_CHARS)
    if (copies * (words(text).length + 1) > MAX_TEXT_CHARS)
      throw new Complaint(`is longer than ${MAX_TEXT_CHARS} characters`)
    step.blocks.push({ type: 'text', text: Array.from({ length: copies }, () => text).join(' ') })
  },
  stop: (step, rest) => void (step.stopReason = identifier(rest)),
  usage: (step, rest) => void Object.assign(step.usage, json(rest, usageNumbers)),
  delay: (step, rest) => void (step.delayMs = integer(rest, 0, MAX_PAUSE_MS)),
  slow: (step, rest) => void (step.slowMs = integer(rest, 0, MAX_PAUSE_MS)),
  chunks: (step, rest) => void (step.chunks = integer(rest, 1, 100_000)),
  stamp: (step, rest) => {
    expectNothing(rest)
    step.stamp = true
  },
  error: (step, rest) => void step.faults.push(httpError(rest)),
  garbage: (step, rest) => void step.faults.push({ kind: 'garbage', times: onlyTimes(rest) }),
  hang: (step, rest) => void step.faults.push({ kind: 'hang', times: onlyTimes(rest) }),
  cut: (step, rest) => void step.faults.push({ kind: 'cut', ...eventsAndTimes(rest, undefined) }),
  stall: (step, rest) => void step.faults.push({ kind: 'stall', ...eventsAndTimes(rest, 1) }),
}

function directiveNamed(name: string): Directive {
  const directive = Object.hasOwn(directives, name) ? directives[name] : undefined
  if (directive === undefined)
    throw new Complaint(`unknown directive; known: ${Object.keys(directives).join(', ')}, next`)
  return directive
}

function splitDirective(line: string): { name: string; rest: string } {
  const [name, rest] = firstWord(line.slice(2))
  return { name, rest: rest.trim() }
}

function firstWord(text: string): [word: string, rest: string] {
  const space = text.search(/\s/)
  return space === -1 ? [text, ''] : [text.slice(0, space), text.slice(space + 1).trim()]
}

function words(rest: string): string {
  if (rest === '') throw new Complaint('needs words')
  return rest
}

function expectNothing(rest: string): void {
  if (rest !== '') throw new Complaint(`takes nothing, got ${JSON.stringify(rest)}`)
}

function identifier(rest: string): string {
  if (!/^[a-z][a-z0-9_]*$/.test(rest))
    throw new Complaint(`needs a name such as some_reason, got ${JSON.stringify(rest)}`)
  return rest
}

function integer(text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most)) {
    throw new Complaint(`needs a whole number from ${least} to ${most}, got ${JSON.stringify(text)}`)
  }
  return value
}

function json<T>(text: string, schema: z.ZodType<T>): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Complaint(`broken JSON (${error instanceof Error ? error.message : String(error)})`)
  }
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw new Complaint(`wrong JSON: ${z.prettifyError(parsed.error)}`)
  return parsed.data
}

/** Takes `key=value` words of the given keys out of the line; other words stay, in order. */
function takeOptions(rest: string, keys: string[]): { options: Map<string, string>; words: string[] } {
  const options = new Map<string, string>()
  const left: string[] = []
  for (const word of rest.split(/\s+/).filter((part) => part !== '')) {
    const equals = word.indexOf('=')
    const key = word.slice(0, Math.max(equals, 0))
    if (keys.includes(key)) options.set(key, word.slice(equals + 1))
    else left.push(word)
  }
  return { options, words: left }
}

function timesOf(options: Map<string, string>): number {
  const times = options.get('times')
  return times === undefined ? Number.POSITIVE_INFINITY : integer(times, 1, 1000)
}

function onlyTimes(rest: string): number {
  const { options, words } = takeOptions(rest, ['times'])
  expectNothing(words.join(' '))
  return timesOf(options)
}

function eventsAndTimes(rest: string, fallback: number | undefined): { afterEvents: number; times: number } {
  const { options, words } = takeOptions(rest, ['times'])
  const [count, ...more] = words
  expectNothing(more.join(' '))
  const afterEvents = count === undefined && fallback !== undefined ? fallback : integer(count ?? '', 0, 1_000_000)
  return { afterEvents, times: timesOf(options) }
}

function httpError(rest: string): Fault {
  const { options, words } = takeOptions(rest, ['times', 'retry-after', 'should-retry'])
  const [status, type, ...message] = words
  const headers: Record<string, string> = {}
  const retryAfter = options.get('retry-after')
  if (retryAfter !== undefined) headers['retry-after'] = String(integer(retryAfter, 0, MAX_PAUSE_MS / 1000))
  const shouldRetry = options.get('should-retry')
  if (shouldRetry !== undefined) {
    if (shouldRetry !== 'true' && shouldRetry !== 'false') throw new Complaint('should-retry is true or false')
    headers['x-should-retry'] = shouldRetry
  }
  return {
    kind: 'error',
    times: timesOf(options),
    status: integer(status ?? '', 400, 599),
    type: identifier(type ?? ''),
    message: message.length === 0 ? 'scripted error' : message.join(' '),
    headers,
  }
}
