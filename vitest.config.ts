import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { ClosingLine } from './test/closing-line.ts'
import { LongFirst } from './test/long-first.ts'

/** It measures the memory of its own process, which is to be as it was at the start. */
const measuring = 'packages/gateway/src/admission.test.ts'
/** These only play clients, as most files of the packages do. */
const clients = [
  'test/security/api-{authorisation,browsers,foreign-ids,ports,texts}.test.ts',
  'test/security/egress-*.test.ts',
]

export default defineConfig({
  test: {
    // Above what each wait in a story may take: whichever is too long says itself what it waited for.
    testTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
    hookTimeout: 120_000,
    // Two cores: more workers than that only make real processes (CLI, sandboxes) wait for each other.
    maxWorkers: 2,
    // Stores and gateways start by the hundred here, each from sources: with what Node has compiled before they take half the processor. And without it
    // each thread takes the types out of its sources with WebAssembly: threads that end while others begin are what nodejs/node#64500 is about.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/node') },
    sequence: { sequencer: LongFirst },
    reporters: ['default', new ClosingLine((line) => process.stdout.write(line))],
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['packages/!(sandbox)/src/**/*.test.ts', ...clients],
          exclude: [measuring],
          // One process for many files. Not for stories: Vitest would not clean up behind their Berth, which it knows from the first file only.
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['packages/sandbox/src/**/*.test.ts', 'test/**/*.test.ts', measuring],
          exclude: clients,
        },
      },
    ],
  },
})
