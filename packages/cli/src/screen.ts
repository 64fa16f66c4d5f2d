import { styleText } from 'node:util'
import type { Context, Output } from './context.ts'

export type Style = Parameters<typeof styleText>[0]

const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'
const TICK_MS = 120
/** A wait shorter than this shows nothing. */
const QUIET_MS = 400

export interface ScreenOptions {
  readonly out: Output
  readonly err: Output
  readonly color: boolean
  /** Milliseconds, monotonic. */
  readonly now?: () => number
}

/**
 * Writes a command's output and, on a terminal, one line of progress below it that disappears before anything else is written.
 * Knows whether the cursor stands at the start of a line. Does not make text safe: callers pass what `neutralise` returned.
 */
export class Screen implements Disposable {
  readonly isTerminal: boolean
  readonly #out: Output
  readonly #err: Output
  readonly #now: () => number
  readonly #color: boolean
  #atLineStart = true
  #wait: { label: string; since: number; timer: NodeJS.Timeout; shown: boolean } | undefined

  constructor({ out, err, color, now = () => performance.now() }: ScreenOptions) {
    this.#color = color
    this.#out = out
    this.#err = err
    this.#now = now
    this.isTerminal = out.isTTY === true
  }

  /** The screen of a command: colours where the output is a terminal and `NO_COLOR` is not set. */
  static of({ stdout, stderr, env }: Context): Screen {
    const color = stdout.isTTY === true && (env.NO_COLOR ?? '') === ''
    return new Screen({ out: stdout, err: stderr, color })
  }

  /** Columns of the terminal; unlimited where there is none. */
  get width(): number {
    const columns = this.#out.columns ?? 0
    return this.isTerminal ? Math.max(20, columns === 0 ? 80 : columns) : Number.POSITIVE_INFINITY
  }

  /** Whole lines on standard output. */
  line(text: string): void {
    this.fragment(`${this.#atLineStart ? '' : '\n'}${text}\n`)
  }

  /** Text that may go on in the next call. */
  fragment(text: string): void {
    if (text === '') return
    this.#erase()
    this.#out.write(text)
    this.#atLineStart = text.endsWith('\n')
  }

  /** Ends a line that `fragment` left open. */
  endLine(): void {
    if (!this.#atLineStart) this.fragment('\n')
  }

  /** Whole lines on standard error. */
  notice(text: string): void {
    this.#erase()
    if (this.isTerminal) this.endLine()
    this.#err.write(`${text}\n`)
  }

  paint(style: Style, text: string): string {
    return this.#color && text !== '' ? styleText(style, text, { validateStream: false }) : text
  }

  /** From now on, shows the label and the seconds since this call. Shows nothing where there is no terminal. */
  waitFor(label: string): void {
    this.done()
    if (!this.isTerminal) return
    const timer = setInterval(() => this.#tick(), TICK_MS)
    timer.unref()
    this.#wait = { label, since: this.#now(), timer, shown: false }
  }

  /** The wait is over. */
  done(): void {
    this.#erase()
    if (this.#wait !== undefined) clearInterval(this.#wait.timer)
    this.#wait = undefined
  }

  [Symbol.dispose](): void {
    this.done()
  }

  #tick(): void {
    const wait = this.#wait
    if (wait === undefined || !this.#atLineStart) return
    const elapsed = this.#now() - wait.since
    if (elapsed < QUIET_MS) return
    const frame = FRAMES[Math.floor(elapsed / TICK_MS) % FRAMES.length]
    this.#out.write(`\r\u001b[2K${this.paint('dim', `${frame} ${wait.label} ${Math.floor(elapsed / 1000)} s`)}`)
    wait.shown = true
  }

  #erase(): void {
    if (this.#wait?.shown !== true) return
    this.#out.write('\r\u001b[2K')
    this.#wait.shown = false
  }
}
