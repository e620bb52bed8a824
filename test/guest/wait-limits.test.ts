import { describe, expect, test as plainTest } from 'vitest'
import { type VM, type VMOptions, withVM } from 'withvm'
import { test as fixtureTest } from 'withvm/vitest'

/** Below the shortest default timeout of a wait. */
const LIMIT = { timeout: 25_000 }
const GUEST = {
  image: 'tiny',
  ready: 'none',
  ssh: false,
  ports: [{ name: 'control' }],
} satisfies VMOptions

/** Waits in all ways for what never comes. Gives the messages of the errors. */
async function waitInVain(vm: VM): Promise<string[]> {
  const screen = await vm.serial.screen()
  const ends = await Promise.allSettled([
    vm.serial.waitFor('never printed'),
    vm.waitFor.serial('never printed'),
    vm.port('control').waitFor('never written'),
    screen.waitFor('never shown'),
    vm.serial.login({ user: 'nobody-of-that-name', prompt: /never a prompt/ }),
    vm.wait(),
  ])
  return ends.map((end) => (end.status === 'rejected' ? String(end.reason.message) : 'came'))
}

const EXPECTED = [
  /^the serial console did not show a pattern within [\d.]+ s\n {2}Expected: "never printed"/,
  /^Waited [\d.]+ s in vain for the serial console to show "never printed"\./,
  /^"never written" did not come from the port 'control' within/,
  /^the screen of the serial console did not show a pattern within [\d.]+ s\n {2}Expected: "never shown"/,
  /^serial\.login\(\) was not done within/,
  /^The guest 'tiny' did not end within/,
]

function expectAll(messages: readonly string[]): void {
  for (const [index, expected] of EXPECTED.entries()) {
    expect(messages[index]).toMatch(expected)
    expect(messages[index]).toMatch(/Fix: Give the test more time \(`testTimeout`/)
  }
}

describe('every wait without a timeout ends before its test, and names what it waited for', () => {
  plainTest('in withVM()', LIMIT, async () => {
    await withVM({ ...GUEST, log: () => {} }, async (vm) => expectAll(await waitInVain(vm)))
  })

  fixtureTest.override({ vmOptions: { ...GUEST, log: () => {} } })

  fixtureTest('with the fixtures', LIMIT, async ({ vm }) => expectAll(await waitInVain(vm)))

  fixtureTest.concurrent('with the fixtures, in a concurrent test', LIMIT, async ({ vm }) => {
    expectAll(await waitInVain(vm))
  })
})
