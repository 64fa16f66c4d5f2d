/** A list of names written as a text: `words('a b c')` is `['a', 'b', 'c']`. Keeps tables of names readable. */
export function words(text: string): string[] {
  return text.trim().split(/\s+/)
}
