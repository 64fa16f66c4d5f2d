/** Ends every run with one plain line, `N passed, N failed[, N skipped]`, for programs that read the output. */
import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node'

export class ClosingLine implements Reporter {
  readonly #write: (line: string) => void

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[], reason: TestRunEndReason): void {
    const count = { passed: 0, failed: errors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) count[test.result().state] += 1
      // A file or a hook that fails outside of its tests is a failure that no test stands for.
      count.failed += module.errors().length
      for (const suite of module.children.allSuites()) count.failed += suite.errors().length
    }
    const failed = reason === 'passed' ? count.failed : Math.max(count.failed, 1)
    const skipped = count.skipped + count.pending
    this.#write(`${count.passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
  }
}
