/**
 * What agents and tools write is data: on a terminal it must not move the cursor, set the title, reach the clipboard or reorder the
 * line. Every character that a terminal or a bidirectional renderer could act on is shown as a visible sign instead. The mapping
 * looks at one character at a time, so no sequence can be put together again from the pieces, whatever the chunks.
 */

// Colour and weight (SGR) are so common in tool output that they are dropped instead of shown.
// eslint-disable-next-line no-control-regex
const colour = /\u001b\[[0-9;:]*m/g

// C0 but tab and newline, DEL, C1; marks, embeddings, overrides and isolates of bidirectional text; the two line separators.
const acting =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** The start of something that the next chunk may complete: a colour sequence, a line end, a pair of surrogates. */
// eslint-disable-next-line no-control-regex
const unfinished = /(?:\u001b(?:\[[0-9;:]{0,32})?|\r|[\ud800-\udbff])$/

/** Control pictures for the 7-bit controls, `\u{…}` for everything else. */
function visible(character: string): string {
  const code = character.charCodeAt(0)
  if (code < 0x20) return String.fromCharCode(0x2400 + code)
  return code === 0x7f ? '\u2421' : `\\u{${code.toString(16)}}`
}

/** Text that is safe to write to a terminal: as it was but for acting characters. Newlines and tabs stay, CRLF becomes LF. */
export function neutralise(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(colour, '').replace(acting, visible).toWellFormed()
}

/** The same on one line: newlines and tabs are shown, too. For names, commands and everything else that has one line to itself. */
export function neutraliseLine(text: string): string {
  return neutralise(text).replaceAll('\n', '\u23ce').replaceAll('\t', ' ')
}

/** The same for text that comes in chunks. Holds back at most 34 characters, until the next chunk or the end. */
export class NeutralStream {
  #held = ''

  push(chunk: string): string {
    const text = this.#held + chunk
    this.#held = unfinished.exec(text)?.[0] ?? ''
    return neutralise(text.slice(0, text.length - this.#held.length))
  }

  end(): string {
    const held = this.#held
    this.#held = ''
    return neutralise(held)
  }
}
