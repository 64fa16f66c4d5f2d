import { defineConfig } from 'vitest/config'
import { ClosingLine } from './test/closing-line.ts'

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
    hookTimeout: 120_000,
    // Two cores: more workers than that only make real processes (CLI, sandboxes) wait for each other.
    maxWorkers: 2,
    reporters: ['default', new ClosingLine((line) => process.stdout.write(line))],
  },
})
