import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** A file of the repository: its path from the root and its text. */
export interface File {
  readonly path: string
  readonly text: string
}

const root = resolve(import.meta.dirname, '../..')

/** Tracked files and those that would be added, as they stand in the work tree. */
export function readTree(): File[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  const paths = [...new Set(listed.split('\0'))].filter((path) => path !== '' && existsSync(join(root, path)))
  return paths.map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

export const isSource = ({ path }: File): boolean => /\.tsx?$/.test(path)

/** Tests and what only they use, benches and examples. They may import more, be longer, and read the environment. */
export const isTest = ({ path }: File): boolean =>
  /\.test\.tsx?$|\/(?:testing|fixtures?|conformance)\/|^packages\/[^/]+\/test\/|^test\/|^bench\/|^examples\//.test(path)

/** The package of a file, or undefined for what belongs to the whole. */
export const packageOf = (path: string): string | undefined => /^packages\/([^/]+)\//.exec(path)?.[1]

/** Source without the comments that stand on lines of their own. */
export const withoutComments = (text: string): string =>
  text.replaceAll(/^[ \t]*\/\*[\s\S]*?\*\//gm, '').replaceAll(/^[ \t]*\/\/.*$/gm, '')
