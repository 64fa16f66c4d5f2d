import { z } from 'zod'
import { cyclesOf, importsOf, resolveImport } from './imports.ts'
import {
  forbiddenNames,
  maxLines,
  mayNameRegistries,
  mayReadEnvironment,
  packages,
  serverLayers,
  serverTechnologies,
  usedWithoutImport,
} from './rules.ts'
import { type File, isSource, isTest, packageOf, withoutComments } from './tree.ts'

/** Each answers one sentence per violation. */
export type Check = (files: readonly File[]) => string[]

const production = (files: readonly File[]): File[] => files.filter((file) => isSource(file) && !isTest(file))

export const packageImports: Check = (files) =>
  production(files).flatMap((file) => {
    const own = packageOf(file.path)
    if (own === undefined) return []
    const rule = packages[own]
    if (rule === undefined) return [`${file.path}: the package ${own} is not in the import table`]
    return importsOf(file.text).flatMap((specifier) => {
      const target = resolveImport(file, specifier)
      if (target.kind === 'npm' && !rule.npm.includes(target.name)) return [`${file.path} imports ${target.name}`]
      const allowed = target.kind !== 'ours' || target.name === own || rule.ours.includes(target.name)
      return allowed ? [] : [`${file.path} imports @berth/${target.name}`]
    })
  })

/** Between packages one goes by name, so that the table above sees it. */
export const relativeImports: Check = (files) =>
  files.filter(isSource).flatMap((file) =>
    importsOf(file.text).flatMap((specifier) => {
      const target = resolveImport(file, specifier)
      if (target.kind !== 'file') return []
      const own = packageOf(file.path)
      const leaves = own !== undefined && packageOf(target.path) !== own
      return leaves ? [`${file.path} reaches into ${target.path}`] : []
    }),
  )

export const layers: Check = (files) =>
  production(files).flatMap((file) => {
    const from = serverFolder(file.path)
    if (from === undefined) return []
    return importsOf(file.text).flatMap((specifier) => {
      const target = resolveImport(file, specifier)
      const below = target.kind === 'file' ? /^packages\/server\/src\/(.+)$/.exec(target.path)?.[1] : undefined
      if (below === undefined) return []
      const to = serverFolder(`packages/server/src/${below}`)
      const technology = serverTechnologies.find((name) => below.startsWith(`${name}/`))
      const foreign = technology !== undefined && !file.path.startsWith(`packages/server/src/${technology}/`)
      const allowed = to !== undefined && (to === from || rankOf(to) < rankOf(from)) && !foreign
      return allowed ? [] : [`${file.path} imports ${below}`]
    })
  })

/** The layer's folder; undefined for the files beside the folders. */
function serverFolder(path: string): string | undefined {
  return /^packages\/server\/src\/([^/]+)\//.exec(path)?.[1]
}

/** A folder that is no layer may be imported by none and import none. */
function rankOf(folder: string): number {
  const rank = serverLayers.findIndex((names) => names.includes(folder))
  return rank >= 0 ? rank : Number.NaN
}

export const cycles: Check = (files) => cyclesOf(files.filter(isSource)).map((cycle) => `cycle: ${cycle}`)

export const lengths: Check = (files) =>
  files
    .filter((file) => (isSource(file) && !isTest(file)) || /^(?:script|bin|\.ci)\//.test(file.path))
    .flatMap(({ path, text }) => {
      const lines = text.split('\n').length - 1
      return lines > maxLines ? [`${path} has ${lines} lines`] : []
    })

export const names: Check = (files) =>
  files
    .filter(({ path }) => /^(?:packages|test|bench|script|bin)\//.test(path))
    .flatMap(({ path }) => {
      const words = path.toLowerCase().split(/[/.-]/)
      const bad = words.find((word) => forbiddenNames.includes(word.replace(/s$/, '')))
      return bad === undefined ? [] : [`${path}: "${bad}" says nothing about what is in it`]
    })

export const defaultExports: Check = (files) =>
  files
    .filter((file) => isSource(file) && !file.path.endsWith('.config.ts'))
    .filter(({ text }) => /^export\s+default\b|^export\s*\{[^}]*\bas default\b/m.test(withoutComments(text)))
    .map(({ path }) => `${path} has a default export`)

export const environment: Check = (files) =>
  production(files)
    .filter(({ path }) => !mayReadEnvironment.test(path))
    .filter(({ text }) => /\bprocess\s*\.\s*env\b|\{[^}]*\benv\b[^}]*\}\s*=\s*process\b/.test(withoutComments(text)))
    .map(({ path }) => `${path} reads the environment`)

const record = z.record(z.string(), z.string()).optional()
const manifest = z.object({ dependencies: record, devDependencies: record, optionalDependencies: record })

export const dependencies: Check = (files) => {
  const page = files.find(({ path }) => path === 'docs/decisions/dependencies.md')?.text ?? ''
  const listed = new Set([...page.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name))
  const declared = new Set<string>()
  const wrong = manifestsOf(files).flatMap(({ path, folder, names: deps }) => {
    const users = files.filter((file) => isSource(file) && file.path.startsWith(folder))
    const imported = new Set(users.flatMap((file) => importsOf(file.text).map((specifier) => nameOf(file, specifier))))
    return deps.flatMap((name) => {
      const unused = !imported.has(name) && usedWithoutImport[folder]?.[name] === undefined
      const isOurs = name.startsWith('@berth/')
      if (!isOurs) declared.add(name)
      const reason =
        isOurs || listed.has(name) ? [] : [`${path}: ${name} has no line in docs/decisions/dependencies.md`]
      return unused ? [`${path}: ${name} is imported nowhere`, ...reason] : reason
    })
  })
  const stale = [...listed].filter((name) => name !== undefined && !declared.has(name))
  return [...wrong, ...stale.map((name) => `docs/decisions/dependencies.md: ${name} is no dependency`)]
}

/** What production code imports is declared by its own package, not found by luck at the root. */
export const declarations: Check = (files) => {
  const declared = new Map(manifestsOf(files).map(({ folder, names: deps }) => [folder, new Set(deps)]))
  return production(files).flatMap((file) => {
    const own = packageOf(file.path)
    const deps = own === undefined ? undefined : declared.get(`packages/${own}/`)
    return [...new Set(importsOf(file.text).map((specifier) => nameOf(file, specifier)))].flatMap((name) =>
      name === undefined || deps === undefined || name === `@berth/${own}` || deps.has(name)
        ? []
        : [`${file.path}: ${name} is not in its package.json`],
    )
  })
}

interface Manifest {
  readonly path: string
  /** `` for the root. */
  readonly folder: string
  readonly names: readonly string[]
}

function manifestsOf(files: readonly File[]): Manifest[] {
  return files
    .filter(({ path }) => /^(?:packages\/[^/]+\/)?package\.json$/.test(path))
    .map(({ path, text }) => {
      const json = manifest.parse(JSON.parse(text))
      const all = { ...json.dependencies, ...json.devDependencies, ...json.optionalDependencies }
      return { path, folder: path.slice(0, -'package.json'.length), names: Object.keys(all) }
    })
}

function nameOf(file: File, specifier: string): string | undefined {
  const target = resolveImport(file, specifier)
  if (target.kind === 'npm') return target.name
  return target.kind === 'ours' ? `@berth/${target.name}` : undefined
}

const machinePath = /(?<![\w}\])*.-])\/work\//
const registryHost = /\b(?:registry\.npmjs\.org|registry\.yarnpkg\.com|(?:deb|security)\.debian\.org)\b/

export const places: Check = (files) =>
  files.flatMap(({ path, text }) => [
    ...(machinePath.test(text) ? [`${path} names a path of one machine`] : []),
    ...(registryHost.test(text) && path !== mayNameRegistries ? [`${path} names the host of a registry`] : []),
    ...(path === 'package-lock.json' && /"resolved": "http/.test(text) ? [`${path} holds resolved URLs`] : []),
  ])
