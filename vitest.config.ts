import { defineConfig } from 'vitest/config'
import { ClosingLine } from './test/closing-line.ts'
import { LongFirst } from './test/long-first.ts'

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    // Above what each wait in a story may take: whichever is too long says itself what it waited for.
    testTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    hookTimeout: 120_000,
    // Two cores: more workers than that only make real processes (CLI, sandboxes) wait for each other.
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    reporters: ['default', new ClosingLine((line) => process.stdout.write(line))],
  },
})
