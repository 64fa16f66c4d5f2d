import { build } from 'esbuild'
import type { BuildOptions, Plugin } from 'esbuild'
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { archiverBeside } from './archiver-file.ts'

/** CommonJS parts of the bundle ask for node's own modules by `require`. */
const REQUIRE = `import { createRequire as berthCreateRequire } from 'node:module'
const require = berthCreateRequire(import.meta.url)
`
const VERSION_PLACEHOLDER = '__berth_runner_version__'

export const defaultRunnerFile = join(import.meta.dirname, '..', 'dist', 'runner.mjs')

/** Marks a question of our own to the bundler, which is not ours to answer. */
const resolving = {}

/**
 * Of these packages only what is used goes into the bundle. They do not say so themselves, and the Agent SDK imports the whole MCP server
 * for a function that the runner does not call: evaluating that is a third of the start.
 */
const withoutSideEffects: Plugin = {
  name: 'without-side-effects',
  setup: (bundler) => {
    bundler.onResolve(
      { filter: /^(?:@modelcontextprotocol\/sdk|@anthropic-ai\/claude-agent-sdk|zod)(?:\/|$)/ },
      async (args) => {
        if (args.pluginData === resolving) return undefined
        const { path, resolveDir, kind, importer } = args
        return {
          ...(await bundler.resolve(path, { resolveDir, kind, importer, pluginData: resolving })),
          sideEffects: false,
        }
      },
    )
    // Messages in fifty languages are a quarter of the bundle.
    bundler.onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js'",
    }))
  },
}

/** The part that is loaded after the hello, imported by `main.ts` alone. */
const LATE = './sessions.ts'

/**
 * Puts that part into the bundle as a text. As code, its mere parsing would take longer than all that a runner does until its hello.
 * It is CommonJS: node compiles such from a string, in the main context.
 */
function asText(late: string): Plugin {
  return {
    name: 'late-as-text',
    setup: (bundler) => {
      bundler.onResolve({ filter: /^\.\/sessions\.ts$/ }, () => ({ path: LATE, namespace: 'late' }))
      bundler.onLoad({ filter: /./, namespace: 'late' }, () => ({
        resolveDir: import.meta.dirname,
        contents: `
          import { compileFunction, constants } from 'node:vm'
          const module = { exports: {} }
          compileFunction(${JSON.stringify(late)}, ['require', 'module', 'berthUrl'], {
            filename: 'runner-sessions.cjs',
            importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
          })(require, module, import.meta.url)
          export const { Sessions } = module.exports`,
      }))
    },
  }
}

async function bundle(file: string, options: BuildOptions): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, file)],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    minify: true,
    keepNames: true,
    legalComments: 'none',
    external: ['bufferutil', 'utf-8-validate'],
    logLevel: 'warning',
    ...options,
  })
  return (outputFiles ?? []).map((output) => output.text).join('')
}

/**
 * Bundles the runner and everything it needs into one file for Node 24, and beside it `archiver.mjs`, the program that it starts for files.
 * Answers the version: a hash of their content, which the runner's file carries too.
 */
export async function buildRunner(outfile: string = defaultRunnerFile): Promise<{ outfile: string; version: string }> {
  const late = await bundle(LATE, {
    format: 'cjs',
    define: { 'import.meta.url': 'berthUrl' },
    plugins: [withoutSideEffects],
  })
  const text = await bundle('main.ts', {
    format: 'esm',
    define: { BERTH_RUNNER_VERSION: JSON.stringify(VERSION_PLACEHOLDER) },
    banner: { js: REQUIRE },
    plugins: [asText(late)],
  })
  const archiver = await bundle('archiver/main.ts', { format: 'esm', plugins: [withoutSideEffects] })
  const version = createHash('sha256').update(text).update(archiver).digest('hex').slice(0, 12)
  await mkdir(dirname(outfile), { recursive: true })
  await writeFile(archiverBeside(outfile), archiver)
  await writeFile(outfile, text.replace(VERSION_PLACEHOLDER, version))
  return { outfile, version }
}

if (import.meta.main) {
  const { outfile, version } = await buildRunner()
  process.stdout.write(`${outfile} ${version}\n`)
}
