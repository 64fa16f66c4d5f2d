/** The order of the test files. */
import { join } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const root = join(import.meta.dirname, '..')
/** Where files start sandboxes or whole Berths. Some take minutes, however few lines they have. */
const long = [join(root, 'test/'), join(root, 'packages/sandbox/')]

function isLong({ moduleId }: TestSpecification): boolean {
  return long.some((folder) => moduleId.startsWith(folder))
}

/** Long ones first: so that none of them begins last and is waited for by workers that have nothing else to do. */
export class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}
