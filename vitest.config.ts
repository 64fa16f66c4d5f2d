import { defineConfig } from 'vitest/config'
import { ClosingLine } from './test/closing-line.ts'
import { LongFirst } from './test/long-first.ts'

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    expect: { poll: { timeout: 45_000 } },
    hookTimeout: 120_000,
    // Two cores: more workers than that only make real processes (CLI, sandboxes) wait for each other.
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    reporters: ['default', new ClosingLine((line) => process.stdout.write(line))],
  },
})
