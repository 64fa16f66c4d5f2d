import { z } from 'zod'
import { readHostPattern } from './host.ts'

/** An entry of a policy. */
export const canonicalPattern = z.string().refine((text) => {
  const reading = readHostPattern(text)
  return 'pattern' in reading && reading.pattern === text
}, 'must be a name of a host, or *. before one, in its canonical form')
