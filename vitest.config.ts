import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.js'

/** Where a continuous integration wants the results as JSON. */
const results = process.env.WITHVM_RESULTS

/** What boots whole distributions, guests of other architectures, an installer to its fourth dialog, and windows, which take large packages: `npm run test:distributions`. */
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
  // A test that passes at its second try is shown as such. A host that does other work at the same time is no fault of the code's.
  retry: results === undefined ? 0 : 1,
}

export default defineConfig({
  resolve: {
    alias: [
      { find: /^withvm$/, replacement: new URL('./fixtures/index.ts', import.meta.url).pathname },
      { find: /^withvm\/vitest$/, replacement: new URL('./fixtures/vitest.ts', import.meta.url).pathname },
    ],
  },
  test: {
    // Under TCG two guests at a time keep two cores busy; a third of a test's time is waiting.
    maxWorkers: 3,
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
