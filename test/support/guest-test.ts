import { test as base } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'

/** `test` with one guest for the whole file, booted when the first test asks for it. */
export function guestTest(options: VMOptions = {}) {
  return base.extend<{ vm: VM }>({
    vm: [
      // biome-ignore lint/correctness/noEmptyPattern: Vitest reads which fixtures are wanted from the pattern
      async ({}, use) => {
        await using vm = await launchVM({ log: () => {}, ...options })
        await use(vm)
      },
      { scope: 'file' },
    ],
  })
}
