import { test as base } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'

/** Returns `test` with one guest for the whole file, which the first test that uses it boots. */
export function guestTest(options: VMOptions = {}) {
  return base.extend<{ vm: VM }>({
    vm: [
      // biome-ignore lint/correctness/noEmptyPattern: Vitest reads the requested fixtures from the pattern
      async ({}, use) => {
        await using vm = await launchVM({ log: () => {}, ...options })
        await use(vm)
      },
      { scope: 'file' },
    ],
  })
}
