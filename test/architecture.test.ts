import { describe, expect, it } from 'vitest'
import * as checks from './architecture/checks.ts'
import { importsOf } from './architecture/imports.ts'
import { type File, readTree } from './architecture/tree.ts'

const tree = readTree()

describe('the repository', () => {
  it.each([
    ['keeps to the import table', checks.packageImports],
    ['goes by name between packages', checks.relativeImports],
    ['keeps the layers of the server', checks.layers],
    ['has no cycles between files', checks.cycles],
    ['has no file that is too long', checks.lengths],
    ['has no empty names', checks.names],
    ['has no default exports', checks.defaultExports],
    ['reads the environment in few places', checks.environment],
    ['uses and explains every dependency', checks.dependencies],
    ['declares what it imports', checks.declarations],
    ['names no machine and no registry', checks.places],
  ])('%s', (_name, check) => {
    expect(check(tree)).toEqual([])
  })

  it('is seen at all', () => {
    expect(tree.filter(({ path }) => path.startsWith('packages/protocol/src/')).length).toBeGreaterThan(3)
    expect(tree.some(({ path }) => path.startsWith('node_modules/'))).toBe(false)
  })
})

const file = (path: string, text = ''): File => ({ path, text })
const npm = (deps: object): string => JSON.stringify({ dependencies: deps })

describe('a violation is found', () => {
  it.each([
    [
      'a package that the table forbids',
      checks.packageImports,
      [file('packages/gateway/src/a.ts', "import { x } from '@berth/server'\n")],
    ],
    [
      'a dependency that the table forbids',
      checks.packageImports,
      [file('packages/protocol/src/a.ts', "import type { x } from 'ws'\n")],
    ],
    [
      'an import over several lines',
      checks.packageImports,
      [file('packages/protocol/src/a.ts', "import {\n  x,\n  y,\n} from 'ws'\n")],
    ],
    ['a re-export', checks.packageImports, [file('packages/protocol/src/a.ts', "export * from '@berth/runner/x'\n")]],
    ['a dynamic import', checks.packageImports, [file('packages/protocol/src/a.ts', "const x = await import('ws')\n")]],
    ['an import for its effect', checks.packageImports, [file('packages/protocol/src/a.ts', "import 'ws'\n")]],
    ['a package that is not in the table', checks.packageImports, [file('packages/extra/src/a.ts')]],
    [
      'a way around the name',
      checks.relativeImports,
      [file('packages/cli/src/a.ts', "import { x } from '../../server/src/b.ts'\n")],
    ],
    ['domain → store', checks.layers, [file('packages/server/src/domain/a.ts', "import { x } from '../store/b.ts'\n")]],
    [
      'store → engine',
      checks.layers,
      [file('packages/server/src/store/a.ts', "import type { x } from '../engine/b.ts'\n")],
    ],
    [
      'engine → http',
      checks.layers,
      [file('packages/server/src/engine/deep/a.ts', "import { x } from '../../http/b.ts'\n")],
    ],
    [
      'http → store/sqlite',
      checks.layers,
      [file('packages/server/src/http/a.ts', "import { x } from '../store/sqlite/b.ts'\n")],
    ],
    ['http → main', checks.layers, [file('packages/server/src/http/a.ts', "import { x } from '../main.ts'\n")]],
    [
      'a folder that is no layer',
      checks.layers,
      [file('packages/server/src/misc/a.ts', "import { x } from '../domain/b.ts'\n")],
    ],
    [
      'a cycle of two files',
      checks.cycles,
      [
        file('packages/cli/src/a.ts', "import { b } from './b.ts'\n"),
        file('packages/cli/src/b.ts', "import { a } from './a.ts'\n"),
      ],
    ],
    ['a long file', checks.lengths, [file('packages/cli/src/a.ts', 'x\n'.repeat(301))]],
    ['an empty name', checks.names, [file('packages/cli/src/string-utils.ts')]],
    ['an empty folder name', checks.names, [file('packages/cli/src/handlers/a.ts')]],
    ['a default export', checks.defaultExports, [file('packages/cli/src/a.ts', 'export default 1\n')]],
    ['the environment', checks.environment, [file('packages/cli/src/a.ts', 'const x = process.env.X\n')]],
    ['an unused dependency', checks.dependencies, [file('packages/cli/package.json', npm({ '@berth/server': '1' }))]],
    [
      'an unexplained dependency',
      checks.dependencies,
      [file('package.json', npm({ zod: '1' })), file('a.ts', "import { z } from 'zod'\n")],
    ],
    ['a stale explanation', checks.dependencies, [file('docs/decisions/dependencies.md', '| `left-pad` | pads |\n')]],
    [
      'an undeclared import',
      checks.declarations,
      [file('packages/cli/package.json', npm({})), file('packages/cli/src/a.ts', "import { z } from 'zod'\n")],
    ],
    ['a machine path', checks.places, [file('README.md', `see ${['', 'work', 'main'].join('/')}\n`)]],
    ['a registry', checks.places, [file('.npmrc', `registry=https://${['registry', 'npmjs', 'org'].join('.')}\n`)]],
    ['resolved URLs', checks.places, [file('package-lock.json', '"resolved": "http://x"')]],
  ] as const)('%s', (_name, check, files) => {
    expect(check(files)).toHaveLength(1)
  })
})

describe('what is allowed passes', () => {
  it.each([
    [
      'a contract of a lower layer',
      checks.layers,
      [file('packages/server/src/http/a.ts', "import { x } from '../store/b.ts'\n")],
    ],
    [
      'main knows every part',
      checks.layers,
      [file('packages/server/src/main.ts', "import { x } from './store/sqlite/b.ts'\n")],
    ],
    [
      'tests import more',
      checks.packageImports,
      [file('packages/gateway/src/a.test.ts', "import { x } from '@berth/scripted-model'\n")],
    ],
    [
      'a word in a comment',
      checks.environment,
      [file('packages/cli/src/a.ts', '// not process.env\n/** process.env */\nconst x = 1\n')],
    ],
    ['a route that looks like a path', checks.places, [file('a.md', 'POST /v1/environments/{id}/work/poll')]],
    ['a name that holds a word', checks.names, [file('packages/cli/src/encore.ts')]],
  ] as const)('%s', (_name, check, files) => {
    expect(check(files)).toEqual([])
  })

  it('comments and texts are no imports', () => {
    expect(
      importsOf("// import { x } from 'a'\n/**\n * import { x } from 'b'\n */\nconst s = \"import 'c'\"\n"),
    ).toEqual([])
  })
})
