import { lstatSync, rmdirSync, unlinkSync } from 'node:fs'
import type { Budget } from './budget.ts'
import { native, shown } from './byte-path.ts'
import type { BytePath, Exclusions } from './byte-path.ts'
import { errno, failureOf } from './failure.ts'
import { namesIn } from './names-here.ts'
import type { Place } from './place.ts'

/** Permissions that the owner needs to change what is in a directory. */
export const CHANGE = 0o700

interface Level {
  readonly prefix: BytePath
  readonly names: readonly BytePath[]
  next: number
  /** Whether something below it stays. */
  keeps: boolean
}

/** What to clear, and how to speak of it. */
interface Clearing {
  readonly path: string
  readonly exclusions: Exclusions
  readonly budget: Budget
}

/** Removes everything below the directory in which the helper stands, but for what is excluded and what is another file system. */
export function clear({ path: root, exclusions, budget }: Clearing, place: Place): void {
  const { dev } = place.stats
  const list = (prefix: BytePath): Level => ({ prefix, names: namesIn('.', Infinity), next: 0, keeps: false })
  const levels = [list('')]
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const name = level.names[level.next++]
    if (name === undefined) {
      levels.pop()
      const above = levels.at(-1)
      if (above === undefined) return
      const left = place.leave()
      if (level.keeps) above.keeps = true
      else remove(rmdirSync, left, `${root}/${shown(level.prefix)}`)
      continue
    }
    const path = level.prefix + name
    const shownPath = (): string => `${root}/${shown(path)}`
    budget.time(shownPath)
    if (exclusions.has(path)) level.keeps = true
    else if (!isDirectory(name)) remove(unlinkSync, name, shownPath())
    else if (!enter(place, name, shownPath())) continue
    else if (place.stats.dev === dev) levels.push(list(`${path}/`))
    else {
      place.leave()
      level.keeps = true
    }
  }
}

function isDirectory(name: BytePath): boolean {
  return lstatSync(native(name), { throwIfNoEntry: false })?.isDirectory() ?? false
}

/** A directory that cannot be entered may still be removed when it is empty. */
function enter(place: Place, name: BytePath, shownPath: string): boolean {
  try {
    place.enter(name, CHANGE)
    return true
  } catch (error) {
    if (errno(error) !== 'EACCES') throw failureOf(error, shownPath)
    remove(rmdirSync, name, shownPath)
    return false
  }
}

function remove(call: (path: string | Buffer) => void, name: BytePath, shownPath: string): void {
  try {
    call(native(name))
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw failureOf(error, shownPath)
  }
}
