import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NeutralStream, neutralise, neutraliseLine } from './neutralise.ts'

// Written apart from the implementation: everything below space but \n and \t, DEL to APC, and the bidirectional controls.
const dangerous = (text: string): boolean =>
  Array.from(text).some((character) => {
    const code = character.codePointAt(0) ?? 0
    if (code === 0x0a || code === 0x09) return false
    const isControl = code < 0x20 || (code >= 0x7f && code <= 0x9f)
    const isBidi = code === 0x61c || code === 0x200e || code === 0x200f || (code >= 0x202a && code <= 0x202e)
    return isControl || isBidi || (code >= 0x2066 && code <= 0x2069)
  })

const attacks = {
  'clipboard (OSC 52)': '\u001b]52;c;cm0gLXJmIC8=\u0007',
  'window title': '\u001b]0;root@prod\u001b\\',
  'hyperlink (OSC 8)': '\u001b]8;;http://evil.example\u001b\\click\u001b]8;;\u001b\\',
  'cursor up and erase': 'danger\u001b[1A\u001b[2Ksafe',
  'clear screen': '\u001b[2J\u001b[H',
  'alternate screen': '\u001b[?1049h',
  'device attributes (answers into stdin)': '\u001b[c\u001b[6n',
  'DECRQSS (answers into stdin)': '\u001bP$q"p\u001b\\',
  'full reset': '\u001bc',
  '8-bit CSI': '\u009b2J',
  '8-bit OSC': '\u009d52;c;AAAA\u009c',
  'carriage return overwrite': 'rm -rf /\recho hi ',
  'backspaces over a word': 'rm\b\becho',
  'right-to-left override': 'file\u202egnp.exe',
  isolates: '\u2066/* \u2069 */',
  'shift out (line drawing)': '\u000e lqqk \u000f',
  'a sequence around a colour': '\u001b\u001b[0m[2J',
  'a colour with an evil parameter': '\u001b[0\u001b[2Jm',
  'delete and null': 'a\u0000b\u007f',
}

describe('neutralise', () => {
  it.each(Object.entries(attacks))('disarms %s, whole and cut at every place', (_name, attack) => {
    expect(dangerous(neutralise(attack))).toBe(false)
    for (let cut = 0; cut <= attack.length; cut++) {
      const stream = new NeutralStream()
      const shown = stream.push(attack.slice(0, cut)) + stream.push(attack.slice(cut)) + stream.end()
      expect(dangerous(shown)).toBe(false)
    }
  })

  it('shows what it disarmed', () => {
    expect(neutralise('\u001b[2J\u009b1A\u202e\u007f')).toBe('\u241b[2J\\u{9b}1A\\u{202e}\u2421')
    expect(neutralise('safe\roverwritten')).toBe('safe\u240doverwritten')
  })

  it('leaves text, tabs, newlines, emoji and combining marks alone', () => {
    const text = 'naïve\tcafé\n日本語 👩‍💻 e\u0301 العربية ← →'
    expect(neutralise(text)).toBe(text)
  })

  it('drops colours and joins CRLF', () => {
    expect(neutralise('\u001b[1;31mred\u001b[0m\r\nnext')).toBe('red\nnext')
  })

  it('never writes half a surrogate pair', () => {
    expect(neutralise('a\ud83d')).toBe('a\ufffd')
  })

  it('keeps a single line single', () => {
    expect(neutraliseLine('echo hi\nrm -rf /')).toBe('echo hi\u23cerm -rf /')
  })

  it('answers the same whatever the chunks', () => {
    const piece = fc.oneof(
      fc.constantFrom('\u001b', '[', '0', ';', 'm', '\r', '\n', '\u009b', ']52;c;', '\u0007', '👩', 'text', '\u202e'),
      fc.string(),
    )
    fc.assert(
      fc.property(fc.array(piece), fc.array(fc.nat(40)), (pieces, cuts) => {
        const text = pieces.join('')
        const stream = new NeutralStream()
        let shown = ''
        let at = 0
        for (const length of cuts) {
          shown += stream.push(text.slice(at, at + length))
          at += length
        }
        shown += stream.push(text.slice(at)) + stream.end()
        expect(dangerous(shown)).toBe(false)
        expect(shown).toBe(neutralise(text))
      }),
    )
  })
})
