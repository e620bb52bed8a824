import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.js'

/** Path for the results as JSON, set by a CI. */
const results = process.env.WITHVM_RESULTS

/** In a CI, a failed test is retried once, because the host may be busy. Vitest reports a test that passes at its retry. */
const retry = results === undefined ? 0 : 1

/** Tests that require large packages: distributions, guests of other architectures, an installer, windows. `npm run test:distributions` runs them. */
const DISTRIBUTIONS = [
  'test/guest/stock/**/*.test.ts',
  'test/guest/architectures/**/*.test.ts',
  'test/guest/windows/**/*.test.ts',
  'examples/architectures.test.ts',
  'examples/debian.test.ts',
  'examples/stock-images.test.ts',
  'examples/netboot-installer.test.ts',
]

const guests = {
  globalSetup: ['test/support/guest-setup.ts'],
  testTimeout: 240_000,
  hookTimeout: 240_000,
  retry,
}

export default defineConfig({
  resolve: {
    alias: [
      { find: /^withvm$/, replacement: new URL('./fixtures/index.ts', import.meta.url).pathname },
      { find: /^withvm\/vitest$/, replacement: new URL('./fixtures/vitest.ts', import.meta.url).pathname },
    ],
  },
  test: {
    // Under TCG, two concurrent guests keep two cores busy; a third of a test's duration is waiting.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    reporters: results === undefined ? ['default'] : ['default', ['json', { outputFile: results }]],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts', 'test/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          retry,
        },
      },
      {
        extends: true,
        test: {
          name: 'guest',
          include: ['test/guest/**/*.test.ts', 'examples/**/*.test.ts'],
          exclude: DISTRIBUTIONS,
          ...guests,
        },
      },
      {
        extends: true,
        test: { name: 'distributions', include: DISTRIBUTIONS, ...guests },
      },
      {
        extends: true,
        test: {
          name: 'types',
          include: [],
          typecheck: { enabled: true, only: true, include: ['test/types/**/*.test-d.ts'] },
        },
      },
    ],
  },
})
