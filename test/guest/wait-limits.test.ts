import { beforeAll, describe, expect, test as plainTest, vi } from 'vitest'
import { type VM, type VMOptions, withVM } from 'withvm'
import { test as fixtureTest } from 'withvm/vitest'

/** Shorter than the shortest default timeout of a wait, 30 s, and long enough to start a guest on a busy host. */
const LIMIT = { timeout: 25_000 }
const GUEST = {
  image: 'tiny',
  ready: 'none',
  ssh: false,
  ports: [{ name: 'control' }],
} satisfies VMOptions

// In the queue of all guests, a start could take longer than the limit.
beforeAll(() => {
  vi.stubEnv('WITHVM_POOL', 'wait-limits')
  return () => vi.unstubAllEnvs()
})

/** Starts each kind of wait for an event that never happens. Returns the messages of the errors. */
async function waitForNothing(vm: VM): Promise<string[]> {
  const screen = await vm.serial.screen()
  const ends = await Promise.allSettled([
    vm.serial.waitFor('never printed'),
    vm.waitFor.serial('never printed'),
    vm.port('control').waitFor('never written'),
    screen.waitFor('never shown'),
    vm.serial.login({ user: 'nobody-of-that-name', prompt: /never a prompt/ }),
    vm.wait(),
  ])
  return ends.map((end) => (end.status === 'rejected' ? String(end.reason.message) : 'resolved'))
}

const EXPECTED = [
  /^The serial console did not show the pattern within [\d.]+ s\.\n {2}Expected: "never printed"/,
  /^Timed out after [\d.]+ s waiting for the serial console to show "never printed"\./,
  /^The guest did not write "never written" to the port 'control' within/,
  /^The screen of the serial console did not show the pattern within [\d.]+ s\.\n {2}Expected: "never shown"/,
  /^serial\.login\(\) timed out after/,
  /^The guest 'tiny-[0-9a-f]{6}' did not end within/,
]

function expectAll(messages: readonly string[]): void {
  for (const [index, expected] of EXPECTED.entries()) {
    expect(messages[index]).toMatch(expected)
    expect(messages[index]).toMatch(/Fix: Increase the timeout of the test \(`testTimeout`/)
  }
}

describe('every wait without a timeout ends before its test, and reports its condition', () => {
  plainTest('in withVM()', LIMIT, async () => {
    await withVM({ ...GUEST, log: () => {} }, async (vm) => expectAll(await waitForNothing(vm)))
  })

  fixtureTest.override({ vmOptions: { ...GUEST, log: () => {} } })

  fixtureTest('with the fixtures', LIMIT, async ({ vm }) => expectAll(await waitForNothing(vm)))

  fixtureTest.concurrent('with the fixtures, in a concurrent test', LIMIT, async ({ vm }) => {
    expectAll(await waitForNothing(vm))
  })
})
