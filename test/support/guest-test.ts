import { test as base } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'
import { independent } from '../../fixtures/guest-test.js'

/** Returns `test` with one guest for the whole file, which the first test that uses it boots. */
export function guestTest(options: VMOptions = {}) {
  return base.extend<{ vm: VM }>({
    vm: [
      independent<VM>(async (use) => {
        await using vm = await launchVM({ log: () => {}, ...options })
        await use(vm)
      }),
      { scope: 'file' },
    ],
  })
}
