/** One line of JSON that is also safe on a terminal: JSON escapes C0 by itself, DEL, C1 and the line separators are escaped here. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
