/** Sizes as an operator writes them. */

const units: Readonly<Record<string, number>> = {
  '': 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

/** Bytes: of a whole number, alone or with a unit behind it (`500MB`, `4GiB`). Undefined: it is none, or too large to be counted. */
export function readByteSize(text: string): number | undefined {
  const { number, unit = '' } = /^(?<number>\d{1,16}) ?(?<unit>[kKMGT]i?B)?$/.exec(text)?.groups ?? {}
  const factor = units[unit]
  if (number === undefined || factor === undefined) return undefined
  const bytes = Number(number) * factor
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
