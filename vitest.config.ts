import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.js'

const isCI = process.env.CI === 'true'

/** Whole distributions, built and booted, guests of other architectures, and an installer to its fourth dialog: `npm run test:distributions`. */
const DISTRIBUTIONS = [
  'test/guest/stock/**/*.test.ts',
  'test/guest/architectures/**/*.test.ts',
  'examples/stock-images.test.ts',
  'examples/netboot-installer.test.ts',
]

const guests = {
  globalSetup: ['test/support/guest-setup.ts'],
  testTimeout: 240_000,
  hookTimeout: 240_000,
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
    reporters: isCI ? ['default', ['json', { outputFile: 'test-results/results.json' }]] : ['default'],
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/unit/**/*.test.ts', 'test/*.test.ts'], testTimeout: 30_000 },
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
        test: {
          name: 'distributions',
          include: DISTRIBUTIONS,
          ...guests,
          globalSetup: [...guests.globalSetup, 'test/support/architectures-setup.ts'],
        },
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
